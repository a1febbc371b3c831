//! Tests of the timeline.

use super::*;
use crate::history::record::Command;

fn at(millis: i64) -> Time {
    Time::from_millis(1_000_000 + millis)
}

fn database(moments: &[(What, i64)]) -> Database {
    let timeline = moments
        .iter()
        .map(|(what, after)| Moment { what: *what, at: at(*after), detail: String::new() })
        .collect();
    Database {
        name: "db".into(),
        engine: "mysql".into(),
        image: Some("mysql:8".into()),
        timeline,
        ..Database::default()
    }
}

fn record(databases: Vec<Database>, ready: Option<i64>, ended: Option<i64>) -> Record {
    Record {
        began: at(0),
        ready: ready.map(at),
        ended: ended.map(at),
        databases,
        ..Record::begin("run-1", "kubernetes")
    }
}

fn bars(track: &Track) -> Vec<(&str, f64, f64)> {
    track.bars.iter().map(|bar| (bar.class, bar.left, bar.width)).collect()
}

const START: [(What, i64); 4] =
    [(What::Created, 0), (What::Scheduled, 1000), (What::Pulled, 4000), (What::Started, 5000)];

#[test]
fn bars_are_where_their_times_are() {
    let moments =
        [START.as_slice(), &[(What::Ready, 8000), (What::Deleting, 9000), (What::Deleted, 10_000)]].concat();
    let timeline = timeline(&record(vec![database(&moments)], Some(8000), Some(10_000)));
    let expected = [
        ("scheduling", 0.0, 10.0),
        ("pulling", 10.0, 30.0),
        ("creating", 40.0, 10.0),
        ("starting", 50.0, 30.0),
        ("in-use", 80.0, 10.0),
        ("deleting", 90.0, 10.0),
    ];
    assert_eq!(bars(&timeline.tracks[0]), expected);
    assert_eq!(timeline.tracks[0].bars[1].text, "getting the image, from 1.00 s to 4.00 s (3.00 s)");
    assert_eq!(
        timeline.tracks[0].marks,
        [Mark { class: "ready", left: 80.0, is_up: false, text: "ready at 8.00 s".into() }]
    );
    assert_eq!((timeline.ready.as_ref().map(|ready| ready.left), timeline.breaks.len()), (Some(80.0), 0));
    let labels: Vec<_> =
        timeline.ticks.iter().map(|tick| (tick.left, tick.label.as_str(), tick.is_minor)).collect();
    assert_eq!(labels[..3], [(0.0, "0 s", false), (10.0, "1 s", true), (20.0, "2 s", true)]);
}

#[test]
fn hours_of_use_do_not_hide_the_start() {
    let hours = 2 * 3_600_000;
    let moments =
        [START.as_slice(), &[(What::Ready, 8000), (What::Deleting, hours), (What::Deleted, hours + 1000)]]
            .concat();
    let mut record = record(vec![database(&moments)], Some(8000), Some(hours + 1000));
    record.command = Some(Command {
        program: "pytest".into(),
        exit_code: Some(1),
        began: Some(at(8000)),
        ended: Some(at(hours)),
    });
    let timeline = timeline(&record);
    assert_eq!(timeline.breaks, [Break { left: 71.111, width: 20.0, label: "2 h".into() }]);
    // 9 seconds share the 80 percent that the hours leave.
    assert_eq!(
        bars(&timeline.tracks[0])[3..],
        [("starting", 44.444, 26.667), ("in-use", 71.111, 20.0), ("deleting", 91.111, 8.889)]
    );
    assert_eq!(bars(&timeline.tracks[1]), [("command", 71.111, 20.0)]);
    assert_eq!(timeline.tracks[1].outcome, "exit code 1");
    assert_eq!(timeline.ticks.last().map(|tick| tick.label.as_str()), Some("2:00:00"));
}

#[test]
fn a_database_that_is_slow_is_never_drawn_narrower() {
    let quick = database(&[START.as_slice(), &[(What::Ready, 6000)]].concat());
    let slow = database(&START[..2]);
    let timeline = timeline(&record(vec![quick, slow], None, Some(600_000)));
    assert_eq!(timeline.breaks, []);
    assert_eq!(
        (timeline.tracks[0].outcome.as_str(), timeline.tracks[1].outcome.as_str()),
        ("ready after 6.00 s", "never ready")
    );
    assert_eq!(bars(&timeline.tracks[1])[1], ("pulling", 0.167, 99.833));
}

#[test]
fn what_goes_on_has_no_end() {
    let moments = [
        START.as_slice(),
        &[(What::SetUpServer, 6000), (What::Ended, 6050), (What::Restarted, 7000), (What::Ready, 12_000)],
    ]
    .concat();
    let timeline = timeline(&record(vec![database(&moments)], Some(12_000), None));
    let last = timeline.tracks[0].bars.last().unwrap();
    assert!(
        last.is_open && last.text == "ready, in use, since 12.0 s, and still when this was written",
        "{last:?}"
    );
    assert!((last.left + last.width - 100.0).abs() < 0.01 && last.width > 5.0, "{last:?}");
    let marks: Vec<_> = timeline.tracks[0].marks.iter().map(|mark| (mark.class, mark.is_up)).collect();
    assert_eq!(marks, [("set-up-server", false), ("ended", true), ("restarted", false), ("ready", false)]);
    assert_eq!(timeline.marks.len(), 4);
}

#[test]
fn a_run_without_databases_is_a_bar_of_its_own() {
    for (ended, is_open) in [(Some(0), false), (Some(500), false), (None, true)] {
        let timeline = timeline(&record(Vec::new(), None, ended));
        let [Track { bars, .. }] = timeline.tracks.as_slice() else { panic!("{timeline:?}") };
        assert!(bars[0].class == "run" && bars[0].is_open == is_open, "{bars:?}");
        assert_eq!(timeline.ready, None);
    }
    let empty = timeline(&record(vec![database(&[])], None, Some(10)));
    assert_eq!((empty.tracks.len(), empty.tracks[0].bars.len()), (1, 0));
}

#[test]
fn every_length_has_labels_that_do_not_touch() {
    for length in
        [1, 7, 30, 999, 1000, 3777, 59_000, 119_000, 600_001, 3_600_000, 7_200_000, 90_000_000, 9_000_000_000]
    {
        let ticks = timeline(&record(Vec::new(), None, Some(length))).ticks;
        assert!((2..=12).contains(&ticks.len()) || length == 1, "{length}: {ticks:?}");
        assert!(
            ticks.windows(2).all(|pair| pair[1].left - pair[0].left >= 8.9 && pair[0].label != pair[1].label),
            "{length}: {ticks:?}"
        );
    }
}

/// Who writes to a store may write as many moments as a story holds. The longest times are in use, so that
/// each is drawn narrower.
#[test]
fn time_grows_with_the_moments_and_no_faster() {
    let began = std::time::Instant::now();
    let moments: Vec<(What, i64)> =
        (0..50_000).flat_map(|n| [(What::Ready, n * 1000), (What::Restarted, n * 1000 + 999)]).collect();
    let timeline = timeline(&record(vec![database(&moments)], Some(0), Some(50_000_000)));
    assert_eq!(timeline.tracks[0].bars.len(), 100_000);
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
}

//! The one axis of a picture: where a moment is, in percent of the width, and what is written under it.
//!
//! A run is made in seconds and used for minutes or hours, in which nothing happens that a picture could
//! show. Such a quiet time is drawn narrower than it is, and marked; everything else has one scale, so that
//! lengths can be compared.

use std::time::Duration;

use serde::Serialize;

use crate::time::Time;
use crate::words::brief;

/// A quiet time is drawn narrower when it is so many times as long as all that is not quiet.
const QUIET: f64 = 1.5;
/// The width of a quiet time that is drawn narrower, in percent, and of all of them together.
const BREAK: f64 = 20.0;
const BREAKS: f64 = 60.0;
/// The least distance of labels, in percent: on a wide page, and on a narrow one, which leaves some out.
const WIDE: f64 = 9.0;
const NARROW: f64 = 21.0;
/// Nothing is labelled so near to the right edge that the label would not fit.
const EDGE: f64 = 96.0;

/// Steps between labels, in milliseconds.
const STEPS: [i64; 26] = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000,
    600_000, 900_000, 1_800_000, 3_600_000, 7_200_000, 14_400_000, 43_200_000, 86_400_000,
];

/// An axis from 0 to 100.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    start: Time,
    pieces: Vec<Piece>,
}

/// A part of the axis with one scale. Times in milliseconds since its start, the rest in percent.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Piece {
    from: i64,
    to: i64,
    left: f64,
    width: f64,
    is_break: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Tick {
    pub left: f64,
    /// The time since the start.
    pub label: String,
    /// Whether a narrow page has no room for it.
    pub is_minor: bool,
}

/// A time that is drawn narrower.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Break {
    pub left: f64,
    pub width: f64,
    pub label: String,
}

impl Axis {
    /// From `start` to `end`, with the times in which nothing happens, in order and apart from each other.
    pub(super) fn new(start: Time, end: Time, quiet: &[(Time, Time)]) -> Self {
        // An axis without a length would have every moment everywhere.
        let length = (end.millis() - start.millis()).max(1);
        let since = |time: Time| (time.millis() - start.millis()).clamp(0, length);
        let quiet: Vec<(i64, i64)> = quiet
            .iter()
            .map(|(from, to)| (since(*from), since(*to)))
            .filter(|(from, to)| from < to)
            .collect();
        let busy = length - quiet.iter().map(|(from, to)| to - from).sum::<i64>();
        let breaks: Vec<_> = quiet
            .into_iter()
            .filter(|(from, to)| busy > 0 && float(to - from) > float(busy) * QUIET)
            .collect();
        Self { start, pieces: pieces(length, &breaks) }
    }

    /// Where a moment is, from 0 to 100.
    pub(super) fn position(&self, at: Time) -> f64 {
        let at = at.millis() - self.start.millis();
        let index = self.pieces.partition_point(|piece| piece.to < at);
        let piece = self.pieces.get(index).or(self.pieces.last());
        let position = piece.map_or(0.0, |piece| {
            piece.left
                + piece.width * float(at.clamp(piece.from, piece.to) - piece.from)
                    / float(piece.to - piece.from)
        });
        rounded(position)
    }

    pub(super) fn breaks(&self) -> Vec<Break> {
        let shown = |piece: &Piece| Break {
            left: rounded(piece.left),
            width: rounded(piece.width),
            label: brief(duration(piece.to - piece.from)),
        };
        self.pieces.iter().filter(|piece| piece.is_break).map(shown).collect()
    }

    pub(super) fn ticks(&self) -> Vec<Tick> {
        let step = self.step();
        let length = self.pieces.last().map_or(0, |piece| piece.to);
        let mut ticks: Vec<Tick> = Vec::new();
        let mut last_major = f64::NEG_INFINITY;
        for (at, left) in self.pieces.iter().flat_map(|piece| piece.ticks(step)) {
            let is_near = ticks.last().is_some_and(|last| left - last.left < WIDE);
            if is_near || left > EDGE {
                continue;
            }
            let is_minor = left - last_major < NARROW;
            if !is_minor {
                last_major = left;
            }
            ticks.push(Tick { left: rounded(left), label: label(at, step, length), is_minor });
        }
        ticks
    }

    /// The smallest that leaves room between labels.
    fn step(&self) -> i64 {
        let Some(piece) = self.pieces.iter().find(|piece| !piece.is_break) else { return STEPS[0] };
        let percent = |step: i64| piece.width * float(step) / float(piece.to - piece.from);
        let largest = STEPS[STEPS.len() - 1];
        // Weeks are labelled by days, and their labels thinned out like all others.
        STEPS.into_iter().find(|step| percent(*step) >= WIDE).unwrap_or(largest)
    }
}

impl Piece {
    /// The multiples of a step in it; of a time that was drawn narrower its end, to tell what comes after.
    fn ticks(self, step: i64) -> Vec<(i64, f64)> {
        let left = |at: i64| self.left + self.width * float(at - self.from) / float(self.to - self.from);
        if self.is_break {
            return vec![(self.to, left(self.to))];
        }
        // A hundred are more than there is room for.
        let first = (self.from + step - 1) / step;
        (first..first + 100)
            .map(|times| times * step)
            .take_while(|at| *at <= self.to)
            .map(|at| (at, left(at)))
            .collect()
    }
}

fn pieces(length: i64, breaks: &[(i64, i64)]) -> Vec<Piece> {
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    let width = if breaks.is_empty() { 0.0 } else { BREAK.min(BREAKS / breaks.len() as f64) };
    let busy = length - breaks.iter().map(|(from, to)| to - from).sum::<i64>();
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    let scale = (100.0 - width * breaks.len() as f64) / float(busy.max(1));
    let mut pieces: Vec<Piece> = Vec::new();
    let mut add = |from: i64, to: i64, is_break: bool| {
        let left = pieces.last().map_or(0.0, |piece: &Piece| piece.left + piece.width);
        let width = if is_break { width } else { float(to - from) * scale };
        if to > from {
            pieces.push(Piece { from, to, left, width, is_break });
        }
    };
    let mut at = 0;
    for (from, to) in breaks {
        add(at, *from, false);
        add(*from, *to, true);
        at = *to;
    }
    add(at, length, false);
    pieces
}

/// `200 ms`, `2.5 s`, `40 s`; `2:05` and `1:58:05` where the axis is longer than two minutes.
fn label(at: i64, step: i64, length: i64) -> String {
    let (minutes, seconds) = (at / 60_000, at / 1000 % 60);
    match length {
        ..1000 => format!("{at} ms"),
        1000..120_000 if at == 0 => "0 s".to_owned(),
        1000..120_000 if step < 1000 => {
            format!("{:.*} s", if step < 100 { 2 } else { 1 }, float(at) / 1000.0)
        }
        1000..120_000 => format!("{} s", at / 1000),
        _ if minutes < 60 => format!("{minutes}:{seconds:02}"),
        _ => format!("{}:{:02}:{seconds:02}", minutes / 60, minutes % 60),
    }
}

fn duration(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or_default())
}

#[expect(clippy::cast_precision_loss, reason = "thousands of years are counted exactly")]
fn float(millis: i64) -> f64 {
    millis as f64
}

/// A thousandth of a percent is less than any screen has.
pub(super) fn rounded(percent: f64) -> f64 {
    (percent * 1000.0).round() / 1000.0
}

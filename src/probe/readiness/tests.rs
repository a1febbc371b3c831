//! Every transition, with a scripted clock and scripted observations.

use super::*;

const WINDOW: Duration = Duration::from_secs(5);

/// Feeds observations at given seconds.
struct Script {
    start: Instant,
    readiness: Readiness,
    outside: Outside,
}

/// What a server says at an attempt, other than its uptime.
fn says(process_id: Option<u32>) -> Answer {
    let process_id = process_id.map(ProcessId::Own);
    Answer {
        process_id,
        first_process: None,
        set_up_option: None,
        uptime: Duration::ZERO,
        connection: None,
        version: None,
    }
}

/// What a server says whose pid file is all that it may be asked.
fn filed(process_id: u32) -> Answer {
    Answer { process_id: Some(ProcessId::File(process_id)), ..says(None) }
}

/// What a server says that was started with an option of its own, and tells no process id.
fn optioned(option: &str) -> Answer {
    Answer { set_up_option: Some(option.into()), ..says(None) }
}

fn denied() -> Refusal {
    Refusal::mysql(1045, "Access denied for user 'striv'@'10.0.0.1' (using password: YES)")
}

fn refused() -> Refusal {
    Refusal::plain(Kind::Refused, "connection refused")
}

impl Script {
    fn new(settle: Settle) -> Self {
        // Far from the clock's origin, so that uptimes can be subtracted.
        let start = Instant::now() + Duration::from_secs(10_000);
        let outside = Outside::running("c1");
        let mut readiness = Readiness::new(settle, start);
        assert_eq!(readiness.outside(start, &outside), None);
        Self { start, readiness, outside }
    }

    fn untold() -> Self {
        Self::new(Settle::Untold(WINDOW))
    }

    fn time(&self, second: f64) -> Instant {
        self.start + Duration::from_secs_f64(second)
    }

    fn log(&mut self, second: f64, log: Log) {
        self.outside.log = log;
        assert_eq!(self.readiness.outside(self.time(second), &self.outside), None);
    }

    fn container(&mut self, second: f64, id: &str) {
        self.outside = Outside::running(id);
        assert_eq!(self.readiness.outside(self.time(second), &self.outside), None);
    }

    fn outcome(&mut self, second: f64, outcome: &Outcome) -> Verdict {
        self.readiness.attempt(self.time(second), self.time(second), outcome)
    }

    /// A login that works, on a server that started at `started`.
    fn login(&mut self, second: f64, answer: Answer, started: f64) -> Verdict {
        let answer = Answer { uptime: Duration::from_secs_f64(second - started), ..answer };
        self.outcome(second, &Outcome { server: Some(answer), login: Ok(()) })
    }

    /// A login that is refused; `server` is what an administrator was told.
    fn refusal(&mut self, second: f64, refusal: Refusal, server: Option<Answer>) -> Verdict {
        self.outcome(second, &Outcome { server, login: Err(refusal) })
    }
}

fn is_ready(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Ready(_))
}

fn is_settling(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Waiting(Reason::Settling(_)))
}

#[test]
fn process_1_is_ready_at_once() {
    for settle in [Settle::Never, Settle::Untold(WINDOW), Settle::Any(WINDOW)] {
        assert_eq!(Script::new(settle).login(3.0, says(Some(1)), 2.9), Verdict::Ready(Evidence::Process1));
    }
}

#[test]
fn another_process_id_is_the_set_up_server_however_long_it_stays() {
    let mut script = Script::untold();
    for second in [0.0, 6.0, 60.0, 600.0] {
        assert_eq!(script.login(second, says(Some(47)), -1.0), Verdict::Waiting(Reason::NotProcess1(47)));
    }
}

#[test]
fn a_pid_file_that_nothing_contradicts_is_a_proof() {
    for settle in [Settle::Never, Settle::Untold(WINDOW), Settle::Any(WINDOW)] {
        assert_eq!(Script::new(settle).login(3.0, filed(1), 2.9), Verdict::Ready(Evidence::PidFile));
    }
    let mut script = Script::untold();
    assert_eq!(script.login(3.0, filed(47), 2.0), Verdict::Waiting(Reason::NotProcess1(47)));
    assert_eq!(script.login(60.0, filed(47), 2.0), Verdict::Waiting(Reason::NotProcess1(47)));
    assert_eq!(script.login(63.0, filed(1), 62.0), Verdict::Ready(Evidence::PidFile));
}

#[test]
fn a_pid_file_that_changes_while_its_server_runs_is_not_believed() {
    let mut script = Script::untold();
    assert_eq!(script.login(3.0, filed(47), 2.0), Verdict::Waiting(Reason::NotProcess1(47)));
    for second in [3.1, 30.0, 60.0] {
        assert_eq!(
            script.login(second, filed(1), 2.0),
            Verdict::Waiting(Reason::NotProcess1(47)),
            "{second}"
        );
    }
    // The same second, and yet another server: it counts its connections anew, or was not there for a moment.
    let numbered = |connection: u32, id: u32| Answer { connection: Some(connection), ..filed(id) };
    let mut script = Script::untold();
    assert!(matches!(script.login(3.0, numbered(9, 47), 2.9), Verdict::Waiting(_)));
    assert!(matches!(script.login(3.1, numbered(10, 1), 2.9), Verdict::Waiting(_)));
    assert!(is_ready(&script.login(3.2, numbered(4, 1), 3.0)));
    let mut script = Script::untold();
    assert!(matches!(script.login(3.0, filed(47), 2.9), Verdict::Waiting(_)));
    assert!(matches!(script.refusal(3.1, refused(), None), Verdict::Waiting(_)));
    assert!(is_ready(&script.login(3.2, filed(1), 3.1)));
}

#[test]
fn a_pid_file_is_outweighed_by_the_log_and_by_options_of_a_set_up_server() {
    let mut script = Script::untold();
    script.log(1.0, Log::SettingUp);
    assert_eq!(script.login(2.0, filed(1), 0.5), Verdict::Waiting(Reason::SettingUp));
    script.log(3.0, Log::Final("done"));
    assert_eq!(script.login(3.1, filed(1), 3.0), Verdict::Ready(Evidence::PidFile));
    let mut script = Script::untold();
    let forged = Answer { set_up_option: Some("bind_address".into()), ..filed(1) };
    for second in [1.0, 30.0] {
        assert_eq!(
            script.login(second, forged.clone(), 0.5),
            Verdict::Waiting(Reason::SetUpOption("bind_address".into()))
        );
    }
}

#[test]
fn a_server_with_an_option_of_a_set_up_server_settles_never() {
    for settle in [Settle::Untold(WINDOW), Settle::Any(WINDOW)] {
        let mut script = Script::new(settle);
        for second in [0.0, 60.0, 600.0] {
            assert_eq!(
                script.login(second, optioned("socket"), -1.0),
                Verdict::Waiting(Reason::SetUpOption("socket".into()))
            );
            assert!(matches!(
                script.refusal(second, denied(), Some(optioned("socket"))),
                Verdict::Waiting(_)
            ));
        }
        assert!(is_settling(&script.login(601.0, says(None), 600.5)));
        // What is certain stays certain.
        assert!(is_ready(&script.login(
            602.0,
            Answer { set_up_option: Some("socket".into()), ..says(Some(1)) },
            600.5
        )));
        script.log(603.0, Log::Final("done"));
        assert!(is_ready(&script.login(603.1, optioned("socket"), 600.5)));
    }
}

#[test]
fn a_connection_number_that_went_down_is_a_restart() {
    let numbered = |connection: u32| Answer { connection: Some(connection), ..says(None) };
    let mut script = Script::untold();
    assert!(is_settling(&script.login(0.0, numbered(7), -0.5)));
    assert!(is_settling(&script.login(1.0, numbered(8), -0.5)));
    assert!(is_settling(&script.login(1.1, numbered(3), 0.5)));
    assert!(is_settling(&script.login(5.5, numbered(4), 0.5)));
    assert!(is_ready(&script.login(6.1, numbered(5), 0.5)));
}

#[test]
fn below_an_init_program_another_process_id_may_settle() {
    let below = |name: &str| Answer { first_process: Some(name.into()), ..says(Some(7)) };
    let mut script = Script::untold();
    assert!(is_settling(&script.login(0.0, below("tini"), -1.0)));
    assert!(is_ready(&script.login(5.0, below("tini"), -1.0)));
    assert_eq!(script.login(10.0, below("bash"), -1.0), Verdict::Waiting(Reason::NotProcess1(7)));
}

#[test]
fn where_any_server_may_settle_the_process_id_does_not_matter() {
    let mut script = Script::new(Settle::Any(WINDOW));
    assert_eq!(script.login(0.0, says(Some(47)), -1.0), Verdict::Waiting(Reason::Settling(WINDOW)));
    assert!(is_settling(&script.login(4.9, says(Some(47)), -1.0)));
    assert_eq!(script.login(5.0, says(Some(47)), -1.0), Verdict::Ready(Evidence::Settled(WINDOW)));
}

#[test]
fn without_a_settling_window_only_a_proof_counts() {
    let mut script = Script::new(Settle::Never);
    assert_eq!(script.login(0.0, says(None), -1.0), Verdict::Waiting(Reason::Unproven));
    assert_eq!(script.login(100.0, says(None), -1.0), Verdict::Waiting(Reason::Unproven));
    assert!(is_ready(&script.login(101.0, says(Some(1)), 100.5)));
}

#[test]
fn a_server_that_was_up_long_before_still_has_to_be_seen_over_the_window() {
    let mut script = Script::untold();
    assert!(is_settling(&script.login(100.0, says(None), 0.0)));
    assert!(is_ready(&script.login(105.0, says(None), 0.0)));
}

#[test]
fn another_start_time_starts_over_even_without_a_gap_in_the_answers() {
    let mut script = Script::untold();
    assert!(is_settling(&script.login(0.0, says(None), -1.0)));
    assert!(is_settling(&script.login(4.0, says(None), 3.9)));
    assert!(is_settling(&script.login(6.0, says(None), 3.9)));
    assert!(is_ready(&script.login(9.0, says(None), 3.9)));
}

#[test]
fn a_refused_login_starts_over() {
    for refusal in [refused(), denied(), Refusal::mysql(1040, "Too many connections")] {
        let mut script = Script::untold();
        assert!(is_settling(&script.login(0.0, says(None), -1.0)));
        assert_eq!(script.refusal(2.0, refusal.clone(), None), Verdict::Waiting(Reason::Refused(refusal)));
        assert!(is_settling(&script.login(5.0, says(None), -1.0)));
        assert!(is_ready(&script.login(10.0, says(None), -1.0)));
    }
}

#[test]
fn uptimes_in_whole_seconds_do_not_look_like_a_restart() {
    let mut script = Script::untold();
    for tenth in 0..50 {
        let now = f64::from(tenth) / 10.0;
        assert!(is_settling(&script.login(now, says(None), now - now.floor())));
    }
    assert!(is_ready(&script.login(5.0, says(None), 0.0)));
}

#[test]
fn another_container_starts_over() {
    let mut script = Script::untold();
    assert!(is_settling(&script.login(0.0, says(None), -1.0)));
    script.container(5.0, "c2");
    assert!(is_settling(&script.login(5.5, says(None), -1.0)));
    script.container(6.0, "c2");
    assert!(is_ready(&script.login(10.5, says(None), -1.0)));
}

#[test]
fn without_a_container_there_is_nothing_to_believe() {
    let mut script = Script::untold();
    let gone = Outside::waiting("CrashLoopBackOff");
    assert_eq!(
        script.readiness.outside(script.time(1.0), &gone),
        Some(Reason::Container("CrashLoopBackOff".into()))
    );
    assert!(matches!(script.login(1.0, says(Some(1)), 0.0), Verdict::Waiting(Reason::Container(_))));
    script.container(2.0, "c1");
    assert!(is_ready(&script.login(2.0, says(Some(1)), 1.9)));
}

#[test]
fn an_attempt_that_began_before_the_container_proves_nothing() {
    let mut script = Script::untold();
    script.container(2.0, "c2");
    let outcome = Outcome { server: Some(says(Some(1))), login: Ok(()) };
    let verdict = script.readiness.attempt(script.time(1.9), script.time(2.1), &outcome);
    assert!(matches!(verdict, Verdict::Waiting(Reason::Container(_))));
}

#[test]
fn the_log_proves_the_end_of_the_set_up() {
    let mut script = Script::untold();
    script.log(1.0, Log::SettingUp);
    for second in [1.0, 30.0, 60.0] {
        assert_eq!(script.login(second, says(None), 0.5), Verdict::Waiting(Reason::SettingUp));
    }
    script.log(61.0, Log::Final("done"));
    assert_eq!(script.login(61.1, says(None), 61.0), Verdict::Ready(Evidence::Log("done")));
}

#[test]
fn a_login_that_was_under_way_when_the_log_was_read_proves_nothing() {
    let mut script = Script::untold();
    assert!(is_settling(&script.login(0.0, says(None), -10.0)));
    script.log(6.0, Log::Final("done"));
    let outcome =
        Outcome { server: Some(Answer { uptime: Duration::from_secs(16), ..says(None) }), login: Ok(()) };
    let verdict = script.readiness.attempt(script.time(5.9), script.time(6.1), &outcome);
    assert_eq!(verdict, Verdict::Waiting(Reason::SettingUp));
}

#[test]
fn the_log_of_an_earlier_container_proves_nothing() {
    let mut script = Script::untold();
    script.log(1.0, Log::Final("done"));
    script.container(2.0, "c2");
    assert!(is_settling(&script.login(2.5, says(None), 2.0)));
}

#[test]
fn the_log_outweighs_a_process_id_that_is_not_1() {
    let mut script = Script::untold();
    script.log(1.0, Log::Final("done"));
    assert_eq!(script.login(1.1, says(Some(7)), 1.0), Verdict::Ready(Evidence::Log("done")));
}

#[test]
fn process_1_needs_no_log() {
    let mut script = Script::untold();
    script.log(1.0, Log::SettingUp);
    assert_eq!(script.login(1.1, says(Some(1)), 1.0), Verdict::Ready(Evidence::Process1));
}

#[test]
fn what_the_proven_final_server_goes_on_refusing_is_wrong_for_ever() {
    for refusal in
        [denied(), Refusal::mysql(1049, "Unknown database 'x'"), Refusal::mysql(3118, "Account is locked")]
    {
        let mut script = Script::untold();
        let waiting = Verdict::Waiting(Reason::Refused(refusal.clone()));
        assert_eq!(script.refusal(0.0, refusal.clone(), Some(says(Some(1)))), waiting);
        assert_eq!(script.refusal(0.9, refusal.clone(), Some(says(Some(1)))), waiting);
        assert_eq!(script.refusal(1.0, refusal.clone(), Some(says(Some(1)))), Verdict::Never(refusal));
    }
}

#[test]
fn the_log_proves_the_final_server_of_a_refusal_too() {
    let mut script = Script::untold();
    script.log(0.0, Log::Final("done"));
    assert!(matches!(script.refusal(0.1, denied(), None), Verdict::Waiting(_)));
    assert_eq!(script.refusal(1.1, denied(), None), Verdict::Never(denied()));
}

#[test]
fn what_a_set_up_server_refuses_is_wrong_for_now() {
    let mut script = Script::untold();
    for second in [0.0, 6.0, 600.0] {
        assert!(matches!(script.refusal(second, denied(), Some(says(Some(47)))), Verdict::Waiting(_)));
        assert!(matches!(script.refusal(second, denied(), None), Verdict::Waiting(_)));
    }
    // The final server refuses it once, before its start hook has made the user.
    assert!(matches!(script.refusal(601.0, denied(), Some(says(Some(1)))), Verdict::Waiting(_)));
    assert!(is_ready(&script.login(601.5, says(Some(1)), 600.5)));
}

#[test]
fn while_the_log_says_set_up_nothing_is_for_ever() {
    let mut script = Script::new(Settle::Any(WINDOW));
    script.log(0.0, Log::SettingUp);
    for second in [0.0, 60.0] {
        assert!(matches!(script.refusal(second, denied(), None), Verdict::Waiting(_)));
        assert!(matches!(script.refusal(second, Refusal::mysql(1251, ""), None), Verdict::Waiting(_)));
    }
}

#[test]
fn a_refusal_settles_where_any_server_may() {
    let mut script = Script::new(Settle::Any(WINDOW));
    assert!(matches!(script.refusal(0.0, denied(), None), Verdict::Waiting(_)));
    assert!(matches!(script.refusal(4.0, denied(), None), Verdict::Waiting(_)));
    assert_eq!(script.refusal(5.0, denied(), None), Verdict::Never(denied()));
}

#[test]
fn a_login_that_cannot_work_in_this_way_settles_without_a_proof() {
    let unfit = Refusal::mysql(1251, "Client does not support authentication protocol");
    let mut script = Script::untold();
    assert!(matches!(script.refusal(0.0, unfit.clone(), None), Verdict::Waiting(_)));
    assert_eq!(script.refusal(5.0, unfit.clone(), None), Verdict::Never(unfit.clone()));
    let mut script = Script::new(Settle::Never);
    assert!(matches!(script.refusal(0.0, unfit.clone(), None), Verdict::Waiting(_)));
    assert!(matches!(script.refusal(500.0, unfit, None), Verdict::Waiting(_)));
}

#[test]
fn a_break_in_the_refusals_starts_the_confirmation_over() {
    let mut script = Script::untold();
    let proven = || Some(says(Some(1)));
    assert!(matches!(script.refusal(0.0, denied(), proven()), Verdict::Waiting(_)));
    assert!(matches!(script.refusal(0.5, refused(), None), Verdict::Waiting(_)));
    assert!(matches!(script.refusal(1.2, denied(), proven()), Verdict::Waiting(_)));
    // Of another kind.
    assert!(matches!(script.refusal(1.9, Refusal::mysql(3118, "locked"), proven()), Verdict::Waiting(_)));
    assert!(matches!(script.refusal(2.5, denied(), proven()), Verdict::Waiting(_)));
    assert!(matches!(script.refusal(3.6, denied(), proven()), Verdict::Never(_)));
}

#[test]
fn refusals_of_two_servers_do_not_add_up() {
    let mut script = Script::new(Settle::Any(WINDOW));
    let server = |uptime| Some(Answer { uptime: Duration::from_secs(uptime), ..says(None) });
    assert!(matches!(script.refusal(0.0, denied(), server(100)), Verdict::Waiting(_)));
    assert!(matches!(script.refusal(4.0, denied(), server(2)), Verdict::Waiting(_)));
    assert!(matches!(script.refusal(6.0, denied(), server(4)), Verdict::Waiting(_)));
    assert!(matches!(script.refusal(9.0, denied(), server(7)), Verdict::Never(_)));
}

#[test]
fn a_server_that_says_not_now_is_waited_for() {
    let mut script = Script::untold();
    for second in [0.0, 1.0, 1000.0] {
        for refusal in [
            Refusal::mysql(1040, "Too many connections"),
            refused(),
            Refusal::plain(Kind::Silent, "no answer"),
        ] {
            assert!(matches!(script.refusal(second, refusal, Some(says(Some(1)))), Verdict::Waiting(_)));
        }
    }
    assert!(is_ready(&script.login(1001.0, says(Some(1)), 0.0)));
}

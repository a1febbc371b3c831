//! Who takes part, and what is done to whom: by chance, from a seed that is printed, so that it can be done
//! again.

use std::time::Duration;

/// What is done to a turn, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hardship {
    /// To a holder: SIGKILL of testbed, of testbed and the command, of the command.
    KillTestbed,
    KillBoth,
    KillCommand,
    /// To a holder: SIGSTOP for longer than the ttl, of testbed, of its whole process group and the
    /// command's.
    StopTestbed,
    StopBoth,
    /// To somebody who most likely waits: SIGKILL, and SIGSTOP for so long that the others give it up.
    KillWaiting,
    StopWaiting,
    /// To everybody, while this one holds.
    Outage(Outage),
}

/// The API server is out of reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    pub how: Interruption,
    /// Longer than the holder's ttl, or shorter.
    pub is_long: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// Killed, and started again.
    Kill,
    /// Ended as a kubelet ends it, and started again.
    Stop,
    /// It says nothing for a while; no connection breaks.
    Freeze,
}

/// How the lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// By `lock run`.
    Run,
    /// By `lock acquire` and `lock release`, with nobody who renews it.
    Take,
}

/// One turn: somebody wants the lock, gets it, and gives it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    pub form: Form,
    pub hardship: Option<Hardship>,
    /// By how many hours the clock is ahead; of two that differ, the other one is behind.
    pub skew: i32,
    /// How long the command works, in hundredths of a second.
    pub hundredths: u32,
    /// Whether the command ignores SIGTERM.
    pub is_stubborn: bool,
    /// Whether a part of the command works in a session of its own.
    pub is_helped: bool,
}

/// Where somebody dies or is stopped: nobody can have the lock for so long. It is over before the API server
/// is back that has been restarted.
pub const SHORT_TTL: Duration = Duration::from_secs(2);
/// The ttl of those that nothing is done to, and of those that an outage is to be shorter than. A machine
/// that is busy with all others has the time to run them.
pub const LONG_TTL: Duration = Duration::from_secs(60);
/// What nobody renews has to be as long as its holder works, and an outage in which it cannot be given back.
pub const TAKE_TTL: Duration = Duration::from_secs(5);
/// How often those say that they wait who are so many at a time: all together ten times a second. The default
/// for fifty.
pub fn heartbeat(workers: usize) -> Duration {
    Duration::from_millis(100) * u32::try_from(workers.max(10)).expect("a small number")
}

/// How long somebody is stopped: longer than the short ttl, and than it takes to be given up while waiting
/// among so many; shorter than a lock lasts that is not renewed.
pub fn stop(heartbeat: Duration) -> Duration {
    heartbeat * 7
}

/// In each round once.
const HARDSHIPS: [(Form, Hardship); 10] = [
    (Form::Run, Hardship::KillTestbed),
    (Form::Run, Hardship::StopWaiting),
    (Form::Run, Hardship::StopTestbed),
    (Form::Run, Hardship::KillCommand),
    (Form::Run, Hardship::StopBoth),
    (Form::Run, Hardship::KillWaiting),
    (Form::Take, Hardship::StopWaiting),
    (Form::Run, Hardship::KillBoth),
    (Form::Take, Hardship::KillWaiting),
    (Form::Take, Hardship::KillBoth),
];

/// The first is the one of a short test.
const OUTAGES: [Outage; 6] = [
    Outage { how: Interruption::Kill, is_long: false },
    Outage { how: Interruption::Stop, is_long: true },
    Outage { how: Interruption::Freeze, is_long: false },
    Outage { how: Interruption::Stop, is_long: false },
    Outage { how: Interruption::Freeze, is_long: true },
    Outage { how: Interruption::Kill, is_long: true },
];

/// The plans of all turns.
pub fn plans(seed: u64, count: usize, has_outages: bool) -> Vec<Plan> {
    let mut chance = Chance::new(seed);
    let mut plans: Vec<Plan> = (0..count).map(|_| Plan::undisturbed(&mut chance)).collect();
    let rounds = (count / 100).max(1);
    let hardships: Vec<_> = (0..rounds).flat_map(|_| HARDSHIPS).collect();
    for (index, (form, hardship)) in hardships.iter().enumerate() {
        // Spread over the whole, and not before somebody waits.
        let turn = (index * count + count / 2) / hardships.len() + chance.below(3);
        let turn = turn.clamp(2, count - 1);
        // Of the command alone, the part that is killed is the one that testbed knows.
        let is_helped = *form == Form::Run && (plans[turn].is_helped || *hardship == Hardship::KillCommand);
        plans[turn] = Plan { form: *form, hardship: Some(*hardship), is_helped, ..plans[turn] };
        plans[turn].hundredths = match hardship {
            Hardship::KillWaiting | Hardship::StopWaiting => plans[turn].hundredths,
            // It is over when it is ended.
            _ => 6_000,
        };
    }
    let outages: Vec<Outage> = if has_outages {
        OUTAGES.into_iter().take(if rounds > 1 { 6 } else { 1 }).collect()
    } else {
        Vec::new()
    };
    for (index, outage) in outages.iter().enumerate() {
        let mut turn = (index * count + count / 2) / outages.len();
        while plans[turn].hardship.is_some() {
            turn += 1;
        }
        plans[turn] = Plan {
            form: Form::Run,
            hardship: Some(Hardship::Outage(*outage)),
            hundredths: 6_000,
            ..plans[turn]
        };
    }
    plans
}

impl Plan {
    fn undisturbed(chance: &mut Chance) -> Self {
        Self {
            form: if chance.below(5) == 0 { Form::Take } else { Form::Run },
            hardship: None,
            skew: [0, 0, 5, 31][chance.below(4)],
            hundredths: 1 + chance.below(4) as u32,
            is_stubborn: chance.below(3) == 0,
            is_helped: chance.below(3) == 0,
        }
    }

    /// The same with nothing done to it.
    pub fn spared(&self) -> Self {
        Self { hardship: None, hundredths: 1, ..*self }
    }

    /// The ttl that it asks for.
    pub fn ttl(&self) -> Duration {
        match (self.form, self.hardship) {
            (Form::Take, Some(Hardship::KillBoth)) => TAKE_TTL,
            (Form::Take, _) | (_, None | Some(Hardship::Outage(Outage { is_long: false, .. }))) => LONG_TTL,
            (Form::Run, Some(_)) => SHORT_TTL,
        }
    }
}

/// Numbers by chance: splitmix64.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From another seed each time.
    pub fn by_the_clock() -> Self {
        let time = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        Self(u64::from(time.subsec_nanos()) ^ time.as_secs())
    }

    /// A number below this one.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }

    /// A part of this time.
    pub fn part_of(&mut self, time: Duration) -> Duration {
        time.mul_f64(self.below(1_000) as f64 / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hardship_has_its_turn_and_a_seed_tells_all() {
        for (count, outages) in [(60, 1), (1_000, 6)] {
            let plans = super::plans(7, count, true);
            assert_eq!(plans, super::plans(7, count, true));
            assert_ne!(plans, super::plans(8, count, true));
            for (form, hardship) in HARDSHIPS {
                assert!(
                    plans.iter().any(|plan| plan.form == form && plan.hardship == Some(hardship)),
                    "{form:?} {hardship:?} of {count}"
                );
            }
            for outage in &OUTAGES[..outages] {
                assert!(
                    plans.iter().any(|plan| plan.hardship == Some(Hardship::Outage(*outage))),
                    "{outage:?} of {count}"
                );
            }
        }
        assert!(
            super::plans(7, 60, false).iter().all(|plan| !matches!(plan.hardship, Some(Hardship::Outage(_))))
        );
    }
}

//! Every move that there is in a state.

use std::fmt;

use super::client::{Client, Exit, Phase};
use super::setting::{Role, Setting};
use super::world::World;
use crate::lock::object::Request;

/// One step of somebody, or of the world around them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    /// Begins to look at the object.
    Start(usize),
    /// Hears the next thing from its watch.
    Hear(usize),
    /// Does what it has to do. A request is answered at once.
    Act(usize),
    /// The same, but the request takes its time.
    ActLate(usize),
    /// The request arrives.
    Arrive(usize),
    /// Its answer arrives.
    Answer(usize),
    /// No answer arrives. The request may still.
    Lose(usize),
    /// A request arrives whose sender has given it up.
    Straggle(usize),
    /// Its command is done, and it gives the lock back; `acquire`: somebody does so in the run's name, who
    /// may not know whether it has it.
    Release(usize),
    /// Its time to wait is up.
    GiveUp(usize),
    /// It learns how a PipelineRun is.
    Learn(usize, usize),
    /// A PipelineRun ends.
    End(usize),
    /// A person deletes the object.
    Delete,
    /// Time passes.
    Tick,
}

impl World {
    /// All moves that there are.
    pub(super) fn moves(&self, setting: &Setting) -> Vec<Move> {
        let mut moves = Vec::new();
        for index in 0..self.clients.len() {
            self.moves_of(index, setting, &mut moves);
        }
        moves.extend((0..self.orphans.len()).map(Move::Straggle));
        moves.extend(self.ends(setting));
        if self.faults.deletions > 0 && self.may_be_deleted() {
            moves.push(Move::Delete);
        }
        if setting.ticks.is_none_or(|ticks| self.time < ticks.into()) {
            moves.push(Move::Tick);
        }
        moves
    }

    /// The PipelineRuns that may end: those that have the lock. Others need not be told from those that never
    /// were.
    fn ends(&self, setting: &Setting) -> impl Iterator<Item = Move> {
        let holds = |number: &usize| {
            let holders = self.server.object.iter().flat_map(|object| &object.lock.holders);
            holders.into_iter().any(|holder| {
                holder.terms.pipeline_run.is_some() && setting.number_of(&holder.identity) == *number
            })
        };
        (0..self.ended.len())
            .filter(|number| !self.ended[*number])
            .filter(holds)
            .map(Move::End)
            .collect::<Vec<_>>()
            .into_iter()
    }

    fn moves_of(&self, index: usize, setting: &Setting, moves: &mut Vec<Move>) {
        let client = &self.clients[index];
        let role = &setting.roles[index];
        if matches!(client.phase, Phase::Off) {
            if self.may_start(index, setting) {
                moves.push(Move::Start(index));
                if setting.is_shared() && !role.has_process() && self.may_release(index, setting) {
                    moves.push(Move::Release(index));
                }
            }
            return;
        }
        if matches!(client.phase, Phase::Done) {
            if setting.has_returns && !self.ended[index] && self.may_start(index, setting) {
                moves.push(Move::Start(index));
            }
            return;
        }
        if let Some(flight) = &client.flight {
            if flight.request.is_some() {
                moves.push(Move::Arrive(index));
            } else {
                moves.push(Move::Answer(index));
            }
            moves.push(Move::Lose(index));
            return;
        }
        if !client.inbox.is_empty() {
            moves.push(Move::Hear(index));
        }
        if client.is_awake(self.now(role)) {
            moves.push(Move::Act(index));
            if self.faults.late > 0 {
                moves.push(Move::ActLate(index));
            }
        }
        if matches!(client.phase, Phase::Holding(_)) && self.may_release(index, setting) {
            moves.push(Move::Release(index));
        }
        if matches!(client.phase, Phase::Wanting(_)) {
            if self.faults.give_ups > 0 {
                moves.push(Move::GiveUp(index));
            }
            for (number, status) in client.statuses.iter().enumerate() {
                if status.is_some_and(|status| status != self.status(number)) {
                    moves.push(Move::Learn(index, number));
                }
            }
        }
    }

    /// Who comes when the object was deleted by hand cannot know what it was: that a person frees the lock by
    /// it is meant.
    fn may_start(&self, index: usize, setting: &Setting) -> bool {
        !self.is_lost && !self.is_being_released(index, setting)
    }

    /// Whether somebody gives back the hold of the run that this one would share.
    fn is_being_released(&self, index: usize, setting: &Setting) -> bool {
        let id = &setting.roles[index].candidate.identity.id;
        (0..self.clients.len()).any(|other| {
            let is_leaving = matches!(self.clients[other].phase, Phase::Leaving(Exit::Release));
            other != index
                && is_leaving
                && setting.roles[other].candidate.identity.id == *id
                && !setting.roles[other].has_process()
        })
    }

    /// A run that gives back its hold does not work inside of it any more.
    fn may_release(&self, index: usize, setting: &Setting) -> bool {
        let Role { candidate, .. } = &setting.roles[index];
        let works = |other: usize| {
            let client = &self.clients[other];
            let is_inside = matches!(&client.phase, Phase::Holding(hold) if hold.is_outer);
            setting.roles[other].candidate.identity.id == candidate.identity.id
                && (matches!(client.phase, Phase::Wanting(_)) || is_inside)
        };
        setting.roles[index].has_process()
            || !(0..self.clients.len()).any(|other| other != index && works(other))
    }

    /// Only an object that everybody has seen: who looks away in that moment is like one who comes later.
    fn may_be_deleted(&self) -> bool {
        let Some(object) = &self.server.object else { return false };
        let is_known = |client: &Client| client.known().is_some_and(|known| known.uid == object.uid);
        let creates = |request: &Request| matches!(request, Request::Create(_));
        let is_creating =
            |client: &Client| client.flight.iter().filter_map(|flight| flight.request.as_ref()).any(creates);
        self.clients.iter().all(|client| !client.watches() || is_known(client) && !is_creating(client))
            && !self.orphans.iter().any(|(_, request)| creates(request))
    }
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(index) => write!(f, "{index} begins to look"),
            Self::Hear(index) => write!(f, "{index} hears from its watch"),
            Self::Act(index) => write!(f, "{index} acts"),
            Self::ActLate(index) => write!(f, "{index} sends a request"),
            Self::Arrive(index) => write!(f, "the request of {index} arrives"),
            Self::Answer(index) => write!(f, "{index} is answered"),
            Self::Lose(index) => write!(f, "{index} gets no answer"),
            Self::Straggle(orphan) => write!(f, "a late request arrives, number {orphan}"),
            Self::Release(index) => write!(f, "{index} releases"),
            Self::GiveUp(index) => write!(f, "{index} gives up"),
            Self::Learn(index, number) => write!(f, "{index} learns of the PipelineRun of {number}"),
            Self::End(number) => write!(f, "the PipelineRun of {number} ends"),
            Self::Delete => write!(f, "a person deletes the object"),
            Self::Tick => write!(f, "time passes"),
        }
    }
}

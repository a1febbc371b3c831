//! A state of the game, and what each move makes of it.

use std::rc::Rc;
use std::time::Duration;

use super::client::{Client, Exit, Flight, Hold, Phase, Sleep, Stage};
use super::moves::Move;
use super::rules::{self, Ghost};
use super::server::{Change, Reply, Server};
use super::setting::{Faults, Role, Setting, UNIT};
use crate::lock::object::Request;
use crate::runtime::kubernetes::pipeline_run::Life;

#[derive(Debug, Clone)]
pub(super) struct World {
    pub server: Server,
    pub clients: Vec<Rc<Client>>,
    /// In units, since the beginning.
    pub time: u32,
    /// Whose PipelineRun has ended, by number of identity.
    pub ended: Vec<bool>,
    /// Requests that nobody expects an answer to any more, with their senders.
    pub orphans: Vec<(usize, Request)>,
    /// Whether the object is gone by somebody's hand.
    pub is_lost: bool,
    /// What may still go wrong.
    pub faults: Faults,
    pub ghost: Ghost,
}

impl World {
    pub(super) fn new(setting: &Setting) -> Self {
        let identities = setting.roles.len();
        Self {
            server: Server::default(),
            clients: std::iter::repeat_with(|| Rc::new(Client::new(identities))).take(identities).collect(),
            time: 0,
            ended: vec![false; identities],
            orphans: Vec::new(),
            is_lost: false,
            faults: setting.faults,
            ghost: Ghost::new(identities),
        }
    }

    /// The time on somebody's own clock.
    pub(super) fn now(&self, role: &Role) -> Duration {
        role.clock + UNIT * self.time
    }

    fn stage<'a>(&self, index: usize, setting: &'a Setting) -> Stage<'a> {
        let role = &setting.roles[index];
        Stage { setting, role, now: self.now(role) }
    }

    /// How a PipelineRun is.
    pub(super) fn status(&self, number: usize) -> Life {
        if self.ended[number] { Life::Gone } else { Life::Running }
    }

    /// The state after a move.
    ///
    /// # Errors
    /// Which rule it breaks.
    pub(super) fn after(&self, step: Move, setting: &Setting) -> Result<Self, String> {
        let mut next = self.clone();
        next.make(step, setting)?;
        rules::check(&next, setting)?;
        Ok(next)
    }

    fn client(&mut self, index: usize) -> &mut Client {
        Rc::make_mut(&mut self.clients[index])
    }

    fn make(&mut self, step: Move, setting: &Setting) -> Result<(), String> {
        match step {
            Move::Start(index) => {
                let listed = self.server.listed();
                self.client(index).start(&setting.roles[index], listed);
            }
            Move::Hear(index) => {
                let stage = self.stage(index, setting);
                let client = self.client(index);
                let change = client.inbox.remove(0);
                client.see(change, &stage);
            }
            Move::Act(index) => {
                if self.act(index, setting) {
                    self.arrive(index, setting)?;
                    self.answer(index, setting);
                }
            }
            Move::ActLate(index) => {
                if self.act(index, setting) {
                    self.faults.late -= 1;
                }
            }
            Move::Arrive(index) => self.arrive(index, setting)?,
            Move::Answer(index) => self.answer(index, setting),
            Move::Lose(index) => {
                let stage = self.stage(index, setting);
                let client = self.client(index);
                let mut flight = client.flight.take().expect("it is under way");
                let orphan = flight.request.take();
                client.hear(None, &stage);
                self.orphans.extend(orphan.map(|request| (index, request)));
            }
            Move::Straggle(orphan) => {
                let (index, request) = self.orphans.remove(orphan);
                self.serve(index, request, setting)?;
            }
            Move::Release(index) => self.release(index, setting),
            Move::GiveUp(index) => {
                self.faults.give_ups -= 1;
                let client = self.client(index);
                if let Phase::Wanting(candidacy) = &client.phase {
                    client.phase = if candidacy.is_touched {
                        Phase::Leaving(Exit::GiveUp(candidacy.asked.clone()))
                    } else {
                        Phase::Done
                    };
                }
                client.sleep = Sleep::Awake;
            }
            Move::Learn(index, number) => {
                let status = self.status(number);
                let client = self.client(index);
                client.statuses[number] = Some(status);
                client.sleep = Sleep::Awake;
            }
            Move::End(number) => self.ended[number] = true,
            Move::Delete => {
                self.faults.deletions -= 1;
                self.delete(setting);
            }
            Move::Tick => self.time += 1,
        }
        if setting.is_attentive {
            self.hear_all(setting);
        }
        self.tidy(setting);
        Ok(())
    }

    fn hear_all(&mut self, setting: &Setting) {
        for index in 0..self.clients.len() {
            if self.clients[index].flight.is_none() && !self.clients[index].inbox.is_empty() {
                let stage = self.stage(index, setting);
                let client = self.client(index);
                let inbox = std::mem::take(&mut client.inbox);
                inbox.into_iter().for_each(|change| client.see(change, &stage));
            }
        }
    }

    /// Whether a request is under way now.
    fn act(&mut self, index: usize, setting: &Setting) -> bool {
        let stage = self.stage(index, setting);
        let object = self.server.object.clone();
        let client = self.client(index);
        let Some(request) = client.act(object.as_ref(), &stage) else { return false };
        client.flight = Some(Flight { request: Some(request), reply: None });
        true
    }

    fn arrive(&mut self, index: usize, setting: &Setting) -> Result<(), String> {
        let flight = self.client(index).flight.as_mut().expect("it is under way");
        let request = flight.request.take().expect("it has not arrived");
        let reply = self.serve(index, request, setting)?;
        self.client(index).flight.as_mut().expect("it is under way").reply = Some(reply);
        Ok(())
    }

    fn answer(&mut self, index: usize, setting: &Setting) {
        let stage = self.stage(index, setting);
        let client = self.client(index);
        let flight = client.flight.take().expect("it is under way");
        client.hear(flight.reply, &stage);
    }

    fn serve(&mut self, index: usize, request: Request, setting: &Setting) -> Result<Reply, String> {
        let before = self.server.object.clone();
        let (reply, change) = self.server.serve(request, &setting.guards);
        if let Some(change) = change {
            self.publish(&change, setting);
            rules::judge(self, before.as_deref(), index, setting)?;
        }
        Ok(reply)
    }

    fn publish(&mut self, change: &Change, setting: &Setting) {
        if self.server.object.is_some() {
            self.is_lost = false;
        }
        let listed = self.server.listed();
        // Nobody can know what was deleted who does not see it; see `may_be_deleted`.
        let is_lost = self.is_lost;
        for index in 0..self.clients.len() {
            if self.clients[index].watches() {
                let inbox = &mut self.client(index).inbox;
                inbox.push(change.clone());
                if inbox.len() > setting.lag && !is_lost {
                    *inbox = vec![listed.clone()];
                }
            }
        }
    }

    fn release(&mut self, index: usize, setting: &Setting) {
        let client = self.client(index);
        let is_outer = matches!(&client.phase, Phase::Holding(Hold { is_outer: true, .. }));
        client.phase = if is_outer { Phase::Done } else { Phase::Leaving(Exit::Release) };
        client.sleep = Sleep::Awake;
        if !setting.roles[index].has_process() {
            self.end_holds_without_process(
                |other| setting.roles[other].candidate.identity == setting.roles[index].candidate.identity,
                setting,
            );
        }
    }

    /// What has no process believes nothing when its run, or a person, says that it is over.
    fn end_holds_without_process(&mut self, is_meant: impl Fn(usize) -> bool, setting: &Setting) {
        for index in 0..self.clients.len() {
            let is_process = |hold: &Hold| setting.roles[index].has_process() && !hold.is_outer;
            if matches!(&self.clients[index].phase, Phase::Holding(hold) if !is_process(hold))
                && is_meant(index)
            {
                self.client(index).phase = Phase::Done;
            }
        }
    }

    fn delete(&mut self, setting: &Setting) {
        self.is_lost = true;
        if let Some(change) = self.server.remove() {
            self.publish(&change, setting);
        }
        self.end_holds_without_process(|_| true, setting);
    }

    /// Forgets what makes no difference any more, so that fewer states look different.
    fn tidy(&mut self, setting: &Setting) {
        let identities = self.clients.len();
        let server = self.server.clone();
        let is_in_vain = |request: &Request| setting.guards.compare_and_swap && server.is_outdated(request);
        self.orphans.retain(|(_, request)| !is_in_vain(request));
        for index in 0..identities {
            let client = &self.clients[index];
            if !matches!(client.phase, Phase::Off) && !client.watches() {
                let client = self.client(index);
                *client = Client {
                    phase: client.phase.clone(),
                    flight: client.flight.take(),
                    sleep: client.sleep,
                    ..Client::new(identities)
                };
            }
            if self.clients[index]
                .flight
                .as_ref()
                .and_then(|flight| flight.request.as_ref())
                .is_some_and(is_in_vain)
                && let Some(flight) = &mut self.client(index).flight
            {
                (flight.request, flight.reply) = (None, Some(Reply::Conflict));
            }
        }
    }
}

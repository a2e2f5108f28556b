//! Processes: what runs in one, how it crashes, stops and comes back.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cybermesh_bridge::bridge::Builder;
use cybermesh_bridge::outbound::breaker::BreakerConfig;
use cybermesh_bridge::{Bridge, Settings};
use cybermesh_checker::Event;
use cybermesh_transport::Security;
use cybermesh_transport::host::Process;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::machine::{Disk, SimMachine};
use crate::world::World;
use crate::{backend, node};

/// What a process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Node,
    Backend,
}

/// A process that can be there or not.
pub(crate) struct Slot {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) disk: Arc<Disk>,
    pub(crate) running: Option<Running>,
}

pub(crate) struct Running {
    process: Process,
    stop: CancellationToken,
    main: JoinHandle<Ended>,
}

/// How a process ended by itself, or because it was asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) clean: bool,
}

/// What runs in a process.
#[derive(Clone)]
pub(crate) struct Within {
    pub(crate) world: Arc<World>,
    pub(crate) name: String,
    pub(crate) stop: CancellationToken,
    /// Which life of the process this is.
    pub(crate) life: u64,
}

const ORDERLY_STOP: Duration = Duration::from_secs(20);

impl Slot {
    pub(crate) fn new(name: &str, role: Role) -> Self {
        Self {
            name: name.to_owned(),
            role,
            disk: Arc::default(),
            running: None,
        }
    }

    pub(crate) fn start(&mut self, world: &Arc<World>) {
        if self.running.is_some() {
            return;
        }
        let life = world.next_life();
        let process = Process::new(Arc::new(SimMachine {
            name: self.name.clone(),
            network: world.network.clone(),
            dice: world.dice(&format!("{} {life}", self.name)),
            disk: Arc::clone(&self.disk),
            recorder: world.recorder.clone(),
            bug: world.bug.clone(),
        }));
        let stop = CancellationToken::new();
        let within = Within {
            world: Arc::clone(world),
            name: self.name.clone(),
            stop: stop.clone(),
            life,
        };
        world.recorder.event(Event::Started {
            process: self.name.clone(),
        });
        let main = match self.role {
            Role::Node => process.spawn(node::run(within)),
            Role::Backend => process.spawn(backend::run(within)),
        };
        self.running = Some(Running {
            process,
            stop,
            main,
        });
    }

    /// Ends it where it stands.
    pub(crate) fn crash(&mut self, world: &World) {
        let Some(running) = self.running.take() else {
            return;
        };
        running.process.kill();
        world.recorder.event(Event::Crashed {
            process: self.name.clone(),
        });
        // What it had written to the network arrives, or is lost with it.
        if world.chance.percent(50) {
            world.network.tear_all_of(&self.name);
        }
    }

    /// Asks it to end, and waits until it has; one that does not is killed in the end.
    pub(crate) async fn stop(&mut self, world: &World) {
        let Some(running) = self.running.take() else {
            return;
        };
        running.stop.cancel();
        let patience = ORDERLY_STOP + Duration::from_secs(30);
        let ended = tokio::time::timeout(patience, running.main).await;
        let Ok(Ok(ended)) = ended else {
            running.process.kill();
            world.recorder.event(Event::Crashed {
                process: self.name.clone(),
            });
            return;
        };
        // What it had left running goes with it.
        running.process.kill();
        world.recorder.event(Event::Stopped {
            process: self.name.clone(),
            clean: ended.clean,
        });
    }

    /// Takes note of a process that is gone by itself: its disk tore, or its main task ended.
    pub(crate) fn reap(&mut self, world: &World) -> bool {
        let is_gone = |running: &Running| running.process.is_dead() || running.main.is_finished();
        match &self.running {
            Some(running) if is_gone(running) => {
                self.crash(world);
                true
            }
            _ => false,
        }
    }
}

impl Within {
    /// The settings of every process, and these beside them.
    pub(crate) fn builder(&self, more: &[(&str, &str)]) -> Option<Builder> {
        let folder = self.world.files.path().join(&self.name);
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let mut loader = Settings::loader()
            .set("KAFKA_BROKERS", self.world.bootstrap())
            .set("CYBERMESH_AUDIENCE", "sim")
            .set("CYBERMESH_NODE_ID", self.name.as_str())
            .set("CYBERMESH_STATE_DIR", path(&folder))
            .set("KAFKA_CONNECT_TIMEOUT_MS", "2000")
            .set("KAFKA_REQUEST_TIMEOUT_MS", "3000")
            .set("KAFKA_RETRY_BACKOFF_MS", "200")
            .set("KAFKA_DELIVERY_TIMEOUT_MS", "15000");
        for (name, value) in more {
            loader = loader.set(*name, *value);
        }
        let settings = match loader.load() {
            Ok(settings) => settings,
            Err(error) => {
                self.world
                    .recorder
                    .note(format_args!("{}: {error}", self.name));
                return None;
            }
        };
        let mut breaker = BreakerConfig::default();
        breaker.open_for = Duration::from_secs(2);
        breaker.open_for_most = Duration::from_secs(10);
        let dice = self
            .world
            .dice(&format!("{} {} jitter", self.name, self.life));
        let builder = Bridge::builder(settings)
            .security(Security::Plaintext)
            .clock(self.world.clocks.of(&self.name))
            .breaker(breaker)
            .seed(dice.draw());
        Some(builder)
    }

    /// Starts a bridge, again and again until there is one, or it is not wanted any more.
    pub(crate) async fn bridge(&self, build: impl Fn() -> Option<Builder>) -> Option<Bridge> {
        loop {
            let starting = build()?.start();
            let started = tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                started = starting => started,
            };
            match started {
                Ok(bridge) => return Some(bridge),
                Err(error) => {
                    self.world
                        .recorder
                        .note(format_args!("{} does not start: {error}", self.name));
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    /// Stops a bridge in order; whether it left nothing.
    pub(crate) async fn end(&self, bridge: Bridge) -> Ended {
        let report = bridge.stop(ORDERLY_STOP).await;
        self.world
            .recorder
            .note(format_args!("{} stops: {report:?}", self.name));
        Ended {
            clean: report.is_clean(),
        }
    }
}

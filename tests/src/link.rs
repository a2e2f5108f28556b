//! A way to the broker that loses answers to produce requests, or falls silent, when told to.
//!
//! Over the built-in broker it is a fault: the broker does what was asked and keeps the answer; or it
//! serves nobody. Over Apache Kafka it is a proxy in front of a listener that advertises the proxy's
//! address: it throws away what the broker says, whatever the request was; or it holds all back.

use cybermesh_devbroker::{Api, Fault, FaultHandle};
use cybermesh_transport::ClientConfig;
use tokio::sync::{Mutex, MutexGuard};

use crate::cluster::Broker;
use crate::proxy::{Conduct, Proxy};
use crate::stage::Stage;

/// The cluster advertises one address for a proxy, so one test at a time has it.
static PROXY: Mutex<()> = Mutex::const_new(());

/// The way to the broker.
#[derive(Debug)]
pub struct Link<'a> {
    stage: &'a Stage,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Direct,
    Proxied(
        Proxy,
        #[expect(dead_code, reason = "held for its drop")] MutexGuard<'static, ()>,
    ),
}

/// Answers are being lost, until [`Loss::end`].
#[derive(Debug)]
pub struct Loss<'a> {
    link: &'a Link<'a>,
    fault: Option<FaultHandle>,
}

impl<'a> Link<'a> {
    /// The way to the broker of `stage`.
    pub async fn new(stage: &'a Stage) -> Self {
        let way = match stage.cluster().broker() {
            Broker::Devbroker(_) => Way::Direct,
            Broker::Kafka(kafka) => {
                let alone = PROXY.lock().await;
                Way::Proxied(Proxy::start(&kafka.proxy, &kafka.behind_proxy).await, alone)
            }
        };
        Self { stage, way }
    }

    /// `host:port` to begin with.
    pub fn bootstrap(&self) -> String {
        match &self.way {
            Way::Direct => self.stage.cluster().bootstrap().to_owned(),
            Way::Proxied(proxy, _) => proxy.address().to_string(),
        }
    }

    /// How a client goes this way.
    pub fn client_config(&self) -> ClientConfig {
        self.stage.client_config_at(&self.bootstrap())
    }

    /// From now on nobody is answered, until [`speak`](Self::speak).
    pub fn fall_silent(&self) {
        match &self.way {
            Way::Direct => self.stage.devbroker().freeze(),
            Way::Proxied(proxy, _) => proxy.conduct(Conduct::Silence),
        }
    }

    /// Ends [`fall_silent`](Self::fall_silent): what was asked meanwhile is served.
    pub fn speak(&self) {
        match &self.way {
            Way::Direct => self.stage.devbroker().thaw(),
            Way::Proxied(proxy, _) => proxy.conduct(Conduct::Pass),
        }
    }

    /// From now on produce requests are done, and their answers lost.
    pub fn lose_answers(&'a self) -> Loss<'a> {
        let fault = match &self.way {
            Way::Direct => Some(
                self.stage
                    .devbroker()
                    .fault(Fault::hold_after_apply(Api::Produce)),
            ),
            Way::Proxied(proxy, _) => {
                proxy.conduct(Conduct::LoseAnswers);
                None
            }
        };
        Loss { link: self, fault }
    }
}

impl Loss<'_> {
    /// Waits until an answer was lost.
    pub async fn happened(&self) {
        match (&self.fault, &self.link.way) {
            (Some(fault), _) => fault.wait_for_hits(1).await,
            (None, Way::Proxied(proxy, _)) => proxy.answers_lost().await,
            (None, Way::Direct) => {}
        }
    }

    /// Closes the connections whose answers were lost; new ones lose none.
    pub async fn end(self) {
        match (&self.fault, &self.link.way) {
            (Some(fault), _) => {
                self.link.stage.devbroker().disconnect_clients().await;
                fault.remove();
            }
            (None, Way::Proxied(proxy, _)) => proxy.cut(),
            (None, Way::Direct) => {}
        }
    }
}

//! Who does what to whom, and for how long: as the seed says.

use std::sync::Arc;
use std::time::Duration;

use cybermesh_tests::brokers::Brokers;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, sleep};

use crate::diary::Diary;
use crate::dice::Dice;
use crate::listener::Listener;
use crate::sender::{self, Order};
use crate::world::World;

const BROKERS: [i32; 3] = [1, 2, 3];

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What is done to brokers. What is away comes back before the next one goes.
pub(crate) async fn of_brokers(diary: Arc<Diary>, mut dice: Dice, until: Instant) {
    let mut brokers = Brokers::connect().await;
    loop {
        sleep(dice.between(seconds(3), seconds(10))).await;
        if Instant::now() >= until {
            return;
        }
        let id = *dice.one_of(&BROKERS);
        let name = format!("broker {id}");
        let away = dice.between(seconds(2), seconds(10));
        match dice.below(6) {
            0 | 1 => {
                diary.deed("killed a broker:", &name);
                brokers.kill(id).await;
                sleep(away).await;
                brokers.start(id).await;
                brokers.serves(id).await;
            }
            2 => {
                diary.deed("stopped a broker:", &name);
                brokers.stop(id).await;
                sleep(away).await;
                brokers.start(id).await;
                brokers.serves(id).await;
            }
            3 | 4 => {
                diary.deed("paused a broker:", &name);
                brokers.pause(id).await;
                sleep(away).await;
                brokers.resume(id).await;
            }
            _ => {
                diary.deed("paused all brokers", "");
                for id in BROKERS {
                    brokers.pause(id).await;
                }
                sleep(away + seconds(10)).await;
                for id in BROKERS {
                    brokers.resume(id).await;
                }
            }
        }
    }
}

/// A sender, and how it is told what to do.
#[derive(Debug, Clone)]
pub(crate) struct Ordered {
    pub(crate) recipe: sender::Recipe,
    pub(crate) orders: mpsc::Sender<Order>,
}

impl Ordered {
    async fn order(&self, order: Order) {
        self.orders.send(order).await.expect("a sender at work");
    }

    async fn order_and_wait<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> T {
        let (done, is_done) = oneshot::channel();
        self.order(order(done)).await;
        is_done.await.expect("a sender at work")
    }

    pub(crate) async fn end(&self) -> sender::Ended {
        self.order_and_wait(Order::End).await
    }
}

pub(crate) async fn of_senders(
    diary: Arc<Diary>,
    mut dice: Dice,
    senders: Vec<Ordered>,
    until: Instant,
) {
    loop {
        sleep(dice.between(seconds(2), seconds(9))).await;
        if Instant::now() >= until {
            return;
        }
        let sender = dice.one_of(&senders);
        let away = dice.between(Duration::from_millis(200), seconds(6));
        if dice.below(3) == 0 {
            diary.deed("paused a sender:", &sender.recipe.name);
            sender.order(Order::Pause).await;
            sleep(away).await;
            sender.order(Order::Resume).await;
        } else {
            diary.deed("killed a sender:", &sender.recipe.name);
            sender.order_and_wait(Order::Kill).await;
            sleep(away).await;
            sender.order_and_wait(Order::Start).await;
        }
    }
}

/// The members; locked by whoever needs all of them to hear.
pub(crate) type Listeners = Arc<Mutex<Vec<Listener>>>;

pub(crate) async fn of_listeners(
    diary: Arc<Diary>,
    mut dice: Dice,
    listeners: Listeners,
    until: Instant,
) {
    loop {
        sleep(dice.between(seconds(3), seconds(10))).await;
        if Instant::now() >= until {
            return;
        }
        let mut listeners = listeners.lock().await;
        let count = u64::try_from(listeners.len()).unwrap_or(1);
        let at = usize::try_from(dice.below(count)).unwrap_or(0);
        let away = dice.between(Duration::from_millis(500), seconds(12));
        let listener = &mut listeners[at];
        match dice.below(4) {
            0 | 1 => {
                diary.deed("killed a listener:", listener.name());
                listener.kill().await;
            }
            2 => {
                diary.deed("paused a listener:", listener.name());
                listener.pause().await;
            }
            _ => {
                diary.deed("ended a listener:", listener.name());
                listener.end().await;
            }
        }
        sleep(away).await;
        listeners[at].resume();
        listeners[at].begin();
    }
}

/// Starts those anew that ended by themselves.
pub(crate) async fn look_after(listeners: Listeners) {
    loop {
        sleep(seconds(1)).await;
        for listener in listeners.lock().await.iter_mut() {
            listener.look_after().await;
        }
    }
}

/// What is done to files: certificates and keys exchanged, a disk filled.
pub(crate) async fn of_files(
    world: Arc<World>,
    diary: Arc<Diary>,
    mut dice: Dice,
    senders: Vec<Ordered>,
    listeners: Listeners,
    until: Instant,
) {
    loop {
        sleep(dice.between(seconds(5), seconds(15))).await;
        if Instant::now() >= until {
            return;
        }
        match (dice.below(3), world.disk()) {
            (0, _) => {
                diary.deed("exchanged all certificates", "");
                let listeners = listeners.lock().await;
                let names = senders.iter().map(|sender| sender.recipe.name.as_str());
                world.exchange_certificates(names.chain(listeners.iter().map(Listener::name)));
            }
            (1, Some(disk)) => {
                diary.deed("filled the small disk", "");
                disk.fill();
                sleep(dice.between(seconds(2), seconds(9))).await;
                disk.free();
            }
            _ => {
                let sender = dice.one_of(&senders);
                diary.deed("exchanged a key:", &sender.recipe.name);
                // One that is stopped in its tracks would judge by the old store when it goes on.
                let _all_hear = listeners.lock().await;
                world.exchange_key(&sender.recipe).await;
            }
        }
    }
}

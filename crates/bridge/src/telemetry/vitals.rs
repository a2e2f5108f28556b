//! Asks for a sign of life, every so often, whoever has no loop that comes round by itself: the tasks
//! that send, which sleep until there is something to send, and the threads that verify.
//!
//! Whoever does not answer stands still ([`Health::stuck`]), and whoever is gone is told of for ever.
//! Whether the cluster answers makes no difference: that is readiness.

use std::{future::Future, time::Duration};

use cybermesh_transport::{Producer, host, producer::Pulse};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::{Health, progress::Beat};

/// How often each is asked.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Watches until it is stopped or dropped.
#[derive(Debug)]
pub(crate) struct Vitals {
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl Vitals {
    /// Of the producers by these names, and of the threads that verify.
    pub(crate) fn watch(
        producers: impl IntoIterator<Item = (&'static str, Producer)>,
        health: &Health,
    ) -> Self {
        let mut asking = JoinSet::new();
        for (name, producer) in producers {
            asking.spawn(host::bound(ask(health.watch(name), move || {
                let producer = producer.clone();
                async move { producer.pulse().await }
            })));
        }
        asking.spawn(host::bound(ask(health.watch("workers"), || async {
            match host::spawn_blocking(|| ()).await {
                Ok(()) => Pulse::Beats,
                // The runtime is going away.
                Err(_cancelled) => Pulse::Ended,
            }
        })));
        let cancel = CancellationToken::new();
        let until = cancel.clone();
        let task = host::spawn(async move {
            until.cancelled().await;
            asking.shutdown().await;
        });
        Self { cancel, task }
    }

    /// Watches no more.
    pub(crate) async fn stop(mut self) {
        self.cancel.cancel();
        // The task ends by the token; that it panicked would have been reported by the runtime.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Vitals {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// Until it ends in order, or is gone.
async fn ask<F: Future<Output = Pulse>>(beat: Beat, mut pulse: impl FnMut() -> F) {
    loop {
        beat.now();
        tokio::time::sleep(ASK_EVERY).await;
        match pulse().await {
            Pulse::Beats => {}
            Pulse::Ended => return,
            Pulse::Gone => return beat.gone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::STUCK_AFTER;

    async fn asked(pulse: impl Future<Output = Pulse> + Clone + Send + 'static) -> Health {
        let health = Health::new();
        let asking = ask(health.watch("publisher"), move || pulse.clone());
        // Its beat must outlive this: a task that is gone is watched no longer.
        tokio::spawn(asking);
        tokio::time::sleep(2 * STUCK_AFTER).await;
        health
    }

    fn stuck(health: &Health) -> Vec<String> {
        let stuck = health.stuck().into_iter();
        stuck
            .map(|(task, detail)| format!("{task}: {detail}"))
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn who_answers_goes_on_and_who_ended_in_order_is_not_missed() {
        for pulse in [Pulse::Beats, Pulse::Ended] {
            let health = asked(std::future::ready(pulse)).await;
            assert_eq!(stuck(&health), Vec::<String>::new(), "{pulse:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_answer_stands_still() {
        let health = asked(std::future::pending()).await;
        assert_eq!(stuck(&health), ["publisher: no progress for 60 s"]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_gone_is_told_of_for_ever() {
        let health = asked(std::future::ready(Pulse::Gone)).await;
        assert_eq!(stuck(&health), ["publisher: its task is gone"]);
    }

    #[test]
    fn when_no_thread_is_left_to_verify_with_the_workers_stand_still_until_one_is() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .max_blocking_threads(1)
            .build()
            .unwrap();
        runtime.block_on(async {
            let health = Health::new();
            let (release, released) = std::sync::mpsc::channel::<()>();
            let holding = tokio::task::spawn_blocking(move || released.recv());
            let vitals = Vitals::watch([], &health);
            // It is asked, and its time passes.
            tokio::task::yield_now().await;
            tokio::time::advance(ASK_EVERY).await;
            tokio::time::advance(STUCK_AFTER).await;
            assert_eq!(stuck(&health), ["workers: no progress for 31 s"]);
            drop(release);
            holding.await.unwrap().unwrap_err();
            while !stuck(&health).is_empty() {
                tokio::task::yield_now().await;
            }
            vitals.stop().await;
        });
    }
}

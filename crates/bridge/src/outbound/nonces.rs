//! Gives out nonces to all partitions of this process, and keeps what must outlive a crash.
//!
//! The order of nonces is [`NonceSource`]'s business; here are its lock, its randomness, and the
//! file. Time is reserved ahead on disk, and more of it once less than half is left: whoever comes then waits for the
//! disk, and keeps its turn in its partition meanwhile, or those behind it would pass it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cybermesh_contracts::nonce::{Next, Nonce, NonceError, NonceSource, Reservation};
use cybermesh_transport::host;

use crate::state::{StateDir, StateError};

const FILE: &str = "nonces";

/// The nonces of one process. Cheap to clone; all clones draw from one source.
#[derive(Debug, Clone)]
pub struct Nonces(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: Mutex<Source>,
    state: Option<Arc<StateDir>>,
    /// One writer at a time; the others find that it is done when they get here.
    keeping: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Source {
    source: NonceSource,
    /// What the source asked to be kept before it gives out another.
    pending: Option<Reservation>,
    /// Drawn in advance: randomness can fail, and must not while a nonce is being given out.
    spare: Option<u32>,
}

/// Why no nonce could be had.
#[derive(Debug, thiserror::Error)]
pub enum NonceFault {
    /// The operating system gave no randomness for an instance id.
    #[error("no randomness for a nonce instance: {0}")]
    Randomness(getrandom::Error),
    /// The reservation could not be kept on disk.
    #[error("nonce reservation cannot be kept: {0}")]
    State(#[from] StateError),
    /// The source wants to keep its state, and there is nowhere to.
    #[error("the nonce source keeps its state, and no state folder was given")]
    NoState,
    /// Time is used up.
    #[error(transparent)]
    Source(#[from] NonceError),
    /// The task that writes the reservation was cut off.
    #[error("nonce reservation was not written: the runtime is shutting down")]
    Cancelled,
}

/// What [`Nonces::next`] answers.
pub(crate) enum Drawn {
    /// A nonce.
    Nonce(Nonce),
    /// None yet: [`Nonces::prepare`] first, which waits for the disk.
    NotPrepared,
}

impl Nonces {
    /// Nonces of a source made by the caller, one that keeps nothing.
    #[must_use]
    pub fn with_source(source: NonceSource) -> Self {
        Self::over(source, None)
    }

    /// Nonces of a random instance that lives as long as the process.
    ///
    /// # Errors
    /// [`NonceFault::Randomness`].
    pub fn ephemeral() -> Result<Self, NonceFault> {
        Ok(Self::with_source(NonceSource::ephemeral(draw()?)))
    }

    /// Nonces that go on after a restart where the last process left off.
    ///
    /// # Errors
    /// Where the folder cannot be read, or there is no randomness. A damaged file is no error: it
    /// is logged, and a new instance is drawn.
    pub fn kept_in(state: Arc<StateDir>) -> Result<Self, NonceFault> {
        let kept = state.read(FILE, Reservation::LENGTH)?;
        let source = match kept.as_deref().map(Reservation::decode) {
            Some(Ok(reservation)) if host::bug("nonces-forgotten") => {
                NonceSource::persistent(reservation.instance())
            }
            Some(Ok(reservation)) => NonceSource::resume(reservation),
            Some(Err(error)) => {
                tracing::warn!(%error, folder = %state.path().display(), "a new nonce instance is drawn");
                NonceSource::persistent(draw()?)
            }
            None => NonceSource::persistent(draw()?),
        };
        Ok(Self::over(source, Some(state)))
    }

    fn over(source: NonceSource, state: Option<Arc<StateDir>>) -> Self {
        Self(Arc::new(Inner {
            source: Mutex::new(Source {
                source,
                pending: None,
                spare: None,
            }),
            state,
            keeping: tokio::sync::Mutex::new(()),
        }))
    }

    /// Sees to it that [`next`](Self::next) will have nonces to give for some seconds from `now_ms`.
    pub(crate) async fn prepare(&self, now_ms: u64) -> Result<(), NonceFault> {
        if self.lock().wanted(now_ms).is_none() {
            return Ok(());
        }
        // In a task of its own: a sender may stop polling at any time, and must not sit on the lock meanwhile.
        let nonces = self.clone();
        host::spawn(async move { nonces.keep(now_ms).await })
            .await
            .map_err(|_| NonceFault::Cancelled)?
    }

    async fn keep(&self, now_ms: u64) -> Result<(), NonceFault> {
        let _one_at_a_time = self.0.keeping.lock().await;
        let Some(reservation) = self.lock().wanted(now_ms) else {
            return Ok(());
        };
        let state = Arc::clone(self.0.state.as_ref().ok_or(NonceFault::NoState)?);
        host::spawn_blocking(move || state.replace(FILE, &reservation.encode()))
            .await
            .map_err(|_| NonceFault::Cancelled)??;
        let mut source = self.lock();
        source.source.kept(reservation);
        source.pending = None;
        Ok(())
    }

    /// The next nonce. Called under the lock of a partition's queue, so it awaits nothing.
    pub(crate) fn next(&self, now_ms: u64) -> Result<Drawn, NonceFault> {
        let mut source = self.lock();
        if source.spare.is_none() {
            source.spare = Some(draw()?);
        }
        let Source {
            source,
            pending,
            spare,
        } = &mut *source;
        // `next` draws at most once, and there is one to draw.
        match source.next(now_ms, || spare.take().unwrap_or_default())? {
            Next::Nonce(nonce) => Ok(Drawn::Nonce(nonce)),
            Next::Keep(reservation) => {
                *pending = Some(reservation);
                Ok(Drawn::NotPrepared)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Source> {
        self.0.source.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source {
    /// What is to be written before the next nonce, or soon after it.
    fn wanted(&self, now_ms: u64) -> Option<Reservation> {
        self.pending.or_else(|| self.source.reservation_due(now_ms))
    }
}

fn draw() -> Result<u32, NonceFault> {
    host::random_u32().map_err(NonceFault::Randomness)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn give(nonces: &Nonces, now_ms: u64) -> Nonce {
        nonces.prepare(now_ms).await.unwrap();
        loop {
            match nonces.next(now_ms).unwrap() {
                Drawn::Nonce(nonce) => return nonce,
                Drawn::NotPrepared => nonces.prepare(now_ms).await.unwrap(),
            }
        }
    }

    #[tokio::test]
    async fn a_restart_goes_on_in_the_same_instance_beyond_every_nonce_given_out() {
        let folder = tempfile::tempdir().unwrap();
        let mut last = Nonce([0; 16]);
        let mut instance = None;
        for start in 0..3 {
            let state = Arc::new(StateDir::open(folder.path()).unwrap());
            let nonces = Nonces::kept_in(state).unwrap();
            for step in 0..50 {
                // The clock stands still over the crash: only what was kept can tell.
                let nonce = give(&nonces, 1_000_000 + step * 400).await;
                assert!(
                    nonce > last,
                    "start {start}, step {step}: {nonce} after {last}"
                );
                assert_eq!(*instance.get_or_insert(nonce.instance()), nonce.instance());
                last = nonce;
            }
        }
    }

    #[tokio::test]
    async fn what_was_kept_is_not_asked_for_again() {
        let folder = tempfile::tempdir().unwrap();
        let state = Arc::new(StateDir::open(folder.path()).unwrap());
        let nonces = Nonces::kept_in(state).unwrap();
        give(&nonces, 1_000_000).await;
        assert_eq!(nonces.lock().wanted(1_000_000), None);
    }

    #[tokio::test]
    async fn a_damaged_file_means_a_new_instance() {
        let folder = tempfile::tempdir().unwrap();
        let state = Arc::new(StateDir::open(folder.path()).unwrap());
        let first = give(&Nonces::kept_in(Arc::clone(&state)).unwrap(), 1_000_000).await;
        state.replace(FILE, b"not seventeen byte").unwrap();
        let second = give(&Nonces::kept_in(state).unwrap(), 1_000_000).await;
        assert_ne!(first.instance(), second.instance());
    }

    #[tokio::test]
    async fn nothing_is_given_out_that_could_not_be_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let state = Arc::new(StateDir::open(&path).unwrap());
        let nonces = Nonces::kept_in(state).unwrap();
        std::fs::remove_dir_all(&path).unwrap();
        assert!(matches!(
            nonces.next(1_000_000).unwrap(),
            Drawn::NotPrepared
        ));
        assert!(matches!(
            nonces.prepare(1_000_000).await,
            Err(NonceFault::State(_))
        ));
        assert!(matches!(
            nonces.next(1_000_000).unwrap(),
            Drawn::NotPrepared
        ));
    }

    #[tokio::test]
    async fn a_folder_that_is_lost_or_shared_gives_no_nonce_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let state = Arc::new(StateDir::open(&path).unwrap());
        let first = Nonces::kept_in(Arc::clone(&state)).unwrap();
        let given = give(&first, 1_000_000).await;
        // Another process that is given the same folder does not start.
        assert!(matches!(
            StateDir::open(&path),
            Err(StateError::InUse { .. })
        ));
        drop((first, state));
        std::fs::remove_dir_all(&path).unwrap();
        let state = Arc::new(StateDir::open(&path).unwrap());
        let again = give(&Nonces::kept_in(state).unwrap(), 1_000_000).await;
        assert_ne!(given.instance(), again.instance());
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_written_gives_no_nonce_beyond_what_was_kept() {
        let folder = tempfile::tempdir().unwrap();
        let state = Arc::new(StateDir::open(folder.path()).unwrap());
        let nonces = Nonces::kept_in(state).unwrap();
        let last = give(&nonces, 1_000_000).await;
        // Where the new content would be written, even for somebody who may write anywhere.
        let in_the_way = folder.path().join("nonces.new");
        std::fs::create_dir(&in_the_way).unwrap();
        let later = nonces.prepare(1_100_000).await;
        assert!(matches!(later, Err(NonceFault::State(_))), "{later:?}");
        assert!(matches!(
            nonces.next(1_100_000).unwrap(),
            Drawn::NotPrepared
        ));
        std::fs::remove_dir(&in_the_way).unwrap();
        assert!(give(&nonces, 1_100_000).await > last);
    }
}

//! A process that only seems to have a machine for itself.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::{AbortHandle, JoinHandle};

use super::FileStep;

thread_local! {
    static CURRENT: RefCell<Option<Process>> = const { RefCell::new(None) };
}

/// A connection.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + fmt::Debug {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + fmt::Debug> Stream for S {}

/// What a simulation puts in the machine's place.
pub trait Machine: Send + Sync {
    /// Connects to a broker.
    fn connect(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Box<dyn Stream>>>;

    /// How long work beside the runtime takes, drawn anew for each.
    fn work_takes(&self) -> Duration;

    /// Chance for who draws it next.
    fn fill(&self, chance: &mut [u8]);

    /// Whether this step of a file's replacement succeeds.
    ///
    /// # Errors
    /// What the file system is to say instead.
    fn file(&self, step: FileStep, path: &Path) -> io::Result<()>;

    /// Whether the bug of this name, put in on purpose, is to be there now.
    fn bug(&self, name: &str) -> bool;
}

/// Tasks that share a machine, and an end.
#[derive(Clone)]
pub struct Process(Arc<Inner>);

struct Inner {
    machine: Arc<dyn Machine>,
    dead: AtomicBool,
    tasks: Mutex<Vec<AbortHandle>>,
}

impl Process {
    /// A process that has this machine.
    #[must_use]
    pub fn new(machine: Arc<dyn Machine>) -> Self {
        Self(Arc::new(Inner {
            machine,
            dead: AtomicBool::new(false),
            tasks: Mutex::default(),
        }))
    }

    /// The process that runs now, if one does.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Connects to a broker.
    ///
    /// # Errors
    /// What the network says.
    pub fn connect(
        &self,
        host: &str,
        port: u16,
    ) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        self.0.machine.connect(host, port)
    }

    /// Whether this step of a file's replacement succeeds.
    ///
    /// # Errors
    /// What the file system is to say instead.
    pub fn file(&self, step: FileStep, path: &Path) -> io::Result<()> {
        self.0.machine.file(step, path)
    }

    /// Whether the bug of this name is to be there now.
    #[must_use]
    pub fn bug(&self, name: &str) -> bool {
        self.0.machine.bug(name)
    }

    /// Whether the process has ended.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.0.dead.load(Ordering::Relaxed)
    }

    /// Ends the process where it stands: none of its tasks is polled again, and all are dropped.
    pub fn kill(&self) {
        self.0.dead.store(true, Ordering::Relaxed);
        let tasks = std::mem::take(&mut *self.tasks());
        tasks.iter().for_each(AbortHandle::abort);
    }

    /// Runs a task within this process.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let task = tokio::spawn(self.within(future));
        if self.is_dead() {
            task.abort();
        } else {
            let mut tasks = self.tasks();
            tasks.retain(|task| !task.is_finished());
            tasks.push(task.abort_handle());
        }
        task
    }

    pub(super) fn spawn_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        self.spawn(self.blocking(work))
    }

    pub(super) fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send + 'static {
        let process = self.clone();
        self.within(async move {
            tokio::time::sleep(process.0.machine.work_takes()).await;
            let done = work();
            tokio::time::sleep(process.0.machine.work_takes()).await;
            done
        })
    }

    pub(super) fn fill(&self, chance: &mut [u8]) {
        self.0.machine.fill(chance);
    }

    /// Has a future belong to the process that runs now, if one does.
    pub(super) fn bind<F: Future + Send>(future: F) -> impl Future<Output = F::Output> + Send {
        let process = Self::current();
        let mut future = Box::pin(future);
        poll_fn(move |context| match &process {
            Some(process) => process.poll(future.as_mut(), context),
            None => future.as_mut().poll(context),
        })
    }

    fn within<F: Future>(&self, future: F) -> Within<F> {
        Within {
            process: self.clone(),
            future: Some(Box::pin(future)),
        }
    }

    fn poll<F: Future + ?Sized>(
        &self,
        future: Pin<&mut F>,
        context: &mut Context<'_>,
    ) -> Poll<F::Output> {
        if self.is_dead() {
            return Poll::Pending;
        }
        let _entered = self.enter();
        future.poll(context)
    }

    fn enter(&self) -> Entered {
        Entered(CURRENT.replace(Some(self.clone())))
    }

    fn tasks(&self) -> std::sync::MutexGuard<'_, Vec<AbortHandle>> {
        self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("dead", &self.is_dead())
            .finish_non_exhaustive()
    }
}

/// Puts back whoever ran before.
struct Entered(Option<Process>);

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

/// A future within its process, also where it is dropped.
struct Within<F> {
    process: Process,
    future: Option<Pin<Box<F>>>,
}

impl<F: Future> Future for Within<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let process = self.process.clone();
        match self.future.as_mut() {
            Some(future) => process.poll(future.as_mut(), context),
            None => Poll::Pending,
        }
    }
}

impl<F> Drop for Within<F> {
    fn drop(&mut self) {
        let _entered = self.process.enter();
        self.future = None;
    }
}

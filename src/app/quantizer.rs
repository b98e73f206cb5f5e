//! Quantizes single matrices in the background while sliders move.
//!
//! Two threads: one rounds to nearest within a few frames, the other follows with what needs a search or a
//! calibration. In both the newest request of a matrix wins: an older one that waits is replaced, one that
//! is being computed is stopped.

use super::candidate::Candidate;
use super::measured::BuiltMatrix;
use super::request::{Requantized, Request, Stage};
use super::running::{lock, panic_sentence, sentence, spawn};
use super::saliencies::Saliencies;
use crate::calibrate::{CalibrateError, Calibration, Hessian};
use crate::compress::{
    CompressError, CompressedTensor, Feedback, compress_tensor, compress_tensor_with,
};
use crate::forward::Input;
use crate::job::{CancelToken, Job};
use crate::recipe::Setting;
use eframe::egui::Context;
use engine::shape::Role;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// The background threads and their queues; they end when this is dropped.
#[derive(Debug)]
pub(super) struct Quantizer {
    plain: Lane,
    fitted: Lane,
}

impl Quantizer {
    /// Starts the threads; `ctx` gets a new frame for each result.
    pub(super) fn new(ctx: &Context) -> Result<Self, String> {
        let mut orders = Saliencies::default();
        let plain = Lane::start("quantizer", ctx, move |task| match task {
            Task::Compute(request, _) => {
                let tensor = plain(request, &orders);
                tensor.map(Some).map_err(|error| sentence(&error))
            }
            Task::Idle(request) => {
                orders.sort(request).map_err(|error| sentence(&error))?;
                Ok(None)
            }
        })?;
        let mut moments = None;
        let fitted = Lane::start("calibrator", ctx, move |task| match task {
            Task::Compute(request, job) => {
                let tensor = fitted(request, &mut moments, job);
                tensor.map(Some).map_err(|error| sentence(&error))
            }
            Task::Idle(_) => Ok(None),
        })?;
        Ok(Self { plain, fitted })
    }

    /// Asks for what `candidate` needs now; what it asked for earlier and needs no longer is forgotten.
    pub(super) fn ask(&self, candidate: Candidate, requests: Vec<Request>) {
        let (plain, fitted) = requests
            .into_iter()
            .partition(|request| request.stage == Stage::Plain);
        self.plain.ask(candidate, plain);
        self.fitted.ask(candidate, fitted);
    }

    /// Forgets everything that waits.
    pub(super) fn clear(&self) {
        self.plain.clear();
        self.fitted.clear();
    }

    /// Matrices that wait, are being computed, or were computed since the last call of [`Self::results`].
    pub(super) fn pending(&self) -> usize {
        self.plain.pending() + self.fitted.pending()
    }

    /// Results since the last call.
    pub(super) fn results(&self) -> Vec<Result<Requantized, String>> {
        let mut results = self.plain.take();
        results.extend(self.fitted.take());
        results
    }
}

/// Rounds to nearest; where the weights are sorted already, pruning is a threshold.
fn plain(request: &Request, orders: &Saliencies) -> Result<CompressedTensor, CompressError> {
    let Request {
        loaded, setting, ..
    } = request;
    let tensor = &loaded.model.tensors[loaded.matrices[request.matrix].tensor];
    let sorted = orders.compress(request);
    sorted.unwrap_or_else(|| compress_tensor(&loaded.model, tensor, *setting, None))
}

/// The moments that a layer's matrices read, kept for its next matrix.
type Moments = Option<(Arc<Calibration>, Option<u32>, Vec<(Input, Hessian)>)>;

/// Does all that the setting asks.
fn fitted(
    request: &Request,
    moments: &mut Moments,
    job: &Job<'_>,
) -> Result<CompressedTensor, CompressError> {
    let Request {
        loaded, setting, ..
    } = request;
    let matrix = &loaded.matrices[request.matrix];
    let tensor = &loaded.model.tensors[matrix.tensor];
    let hessian = match &request.calibration {
        Some(calibration) => moments_of(calibration, matrix.role, matrix.layer, moments)?,
        None => None,
    };
    let feedback = hessian.map(Feedback::new);
    let feedback = feedback.as_ref();
    compress_tensor_with(&loaded.model, tensor, *setting, feedback, job)
}

fn moments_of<'m>(
    calibration: &Arc<Calibration>,
    role: Role,
    layer: Option<u32>,
    kept: &'m mut Moments,
) -> Result<Option<&'m Hessian>, CalibrateError> {
    let Some(input) = calibration.input_of(role) else {
        return Ok(None);
    };
    let is_kept = kept
        .as_ref()
        .is_some_and(|(of, at, _)| Arc::ptr_eq(of, calibration) && *at == layer);
    if !is_kept {
        *kept = Some((Arc::clone(calibration), layer, calibration.hessians(layer)?));
    }
    let hessians = kept.as_ref().map_or(&[][..], |(_, _, hessians)| hessians);
    Ok(hessians.iter().find(|(i, _)| *i == input).map(|(_, h)| h))
}

/// One thread and its queue.
#[derive(Debug)]
struct Lane {
    shared: Arc<SharedQueue>,
    results: Receiver<Result<Requantized, String>>,
}

/// What a thread is to do.
enum Task<'a> {
    /// A matrix that is waited for, until the job is cancelled.
    Compute(&'a Request, &'a Job<'a>),
    /// Nothing waits: time to prepare for the next request of this matrix.
    Idle(&'a Request),
}

#[derive(Debug, Default)]
struct SharedQueue {
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    wanted: BTreeMap<(Candidate, usize), Request>,
    /// What is being computed, while it is wanted.
    busy: Option<Busy>,
    /// Results that nobody has taken yet: another request may follow from each.
    untaken: usize,
    closed: bool,
}

/// A matrix that is being computed.
#[derive(Debug)]
struct Busy {
    key: (Candidate, usize, Setting),
    cancel: CancelToken,
}

impl Queue {
    /// What is being computed is wanted no longer.
    fn stop(&mut self) {
        if let Some(busy) = self.busy.take() {
            busy.cancel.cancel();
        }
    }
}

impl Lane {
    fn start(
        name: &str,
        ctx: &Context,
        work: impl FnMut(Task<'_>) -> Result<Option<CompressedTensor>, String> + Send + 'static,
    ) -> Result<Self, String> {
        let shared = Arc::new(SharedQueue::default());
        let (sender, results) = sync_channel(64);
        let (theirs, ctx) = (Arc::clone(&shared), ctx.clone());
        spawn(name, move || serve(&theirs, &sender, &ctx, work))?;
        Ok(Self { shared, results })
    }

    fn ask(&self, candidate: Candidate, requests: Vec<Request>) {
        let mut queue = lock(&self.shared.queue);
        queue.wanted.retain(|(owner, _), _| *owner != candidate);
        let busy = queue.busy.as_ref().map(|busy| busy.key);
        let busy = busy.filter(|(owner, ..)| *owner == candidate);
        let mut is_wanted = false;
        for request in requests {
            // What is being computed with this very setting needs no second run.
            if busy == Some((candidate, request.matrix, request.setting)) {
                is_wanted = true;
            } else {
                queue.wanted.insert((candidate, request.matrix), request);
            }
        }
        if busy.is_some() && !is_wanted {
            queue.stop();
        }
        self.shared.wake.notify_one();
    }

    fn clear(&self) {
        let mut queue = lock(&self.shared.queue);
        queue.wanted.clear();
        queue.stop();
    }

    fn pending(&self) -> usize {
        let queue = lock(&self.shared.queue);
        queue.wanted.len() + usize::from(queue.busy.is_some()) + queue.untaken
    }

    fn take(&self) -> Vec<Result<Requantized, String>> {
        let results: Vec<_> = self.results.try_iter().collect();
        lock(&self.shared.queue).untaken -= results.len();
        results
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let mut queue = lock(&self.shared.queue);
        queue.closed = true;
        queue.wanted.clear();
        queue.stop();
        self.shared.wake.notify_one();
    }
}

fn serve(
    shared: &SharedQueue,
    results: &SyncSender<Result<Requantized, String>>,
    ctx: &Context,
    mut work: impl FnMut(Task<'_>) -> Result<Option<CompressedTensor>, String>,
) {
    while let Some((request, cancel)) = next(shared) {
        let key = (request.candidate, request.matrix, request.setting);
        let job = Job::new(&|_| (), cancel);
        let task = Task::Compute(&request, &job);
        let made = match catch_unwind(AssertUnwindSafe(|| work(task))) {
            Ok(made) => made.transpose(),
            Err(panic) => Some(Err(panic_sentence(&*panic))),
        };
        let mut queue = lock(&shared.queue);
        let is_wanted = queue.busy.take_if(|busy| busy.key == key).is_some();
        if queue.closed {
            return;
        }
        let Some(made) = made.filter(|_| is_wanted) else {
            continue;
        };
        queue.untaken += 1;
        let is_idle = queue.wanted.is_empty();
        drop(queue);
        let outcome = made.and_then(|tensor| exchange(&request, tensor));
        if results.send(outcome).is_err() {
            return;
        }
        ctx.request_repaint();
        if is_idle {
            let prepared = catch_unwind(AssertUnwindSafe(|| work(Task::Idle(&request))));
            let failed = match prepared {
                Ok(Ok(_)) => continue,
                Ok(Err(error)) => error,
                Err(panic) => panic_sentence(&*panic),
            };
            lock(&shared.queue).untaken += 1;
            if results.send(Err(failed)).is_err() {
                return;
            }
            ctx.request_repaint();
        }
    }
}

fn exchange(request: &Request, tensor: CompressedTensor) -> Result<Requantized, String> {
    let built = BuiltMatrix {
        setting: request.setting,
        nmse: tensor.nmse,
        output_error: tensor.output_error,
    };
    let done = Requantized {
        candidate: request.candidate,
        matrix: request.matrix,
        built,
        live: Arc::clone(&request.live),
    };
    let exchanged = request.live.replace(Arc::new(tensor));
    exchanged.map(|_| done).map_err(|error| error.to_string())
}

/// Waits for work; the request and what stops it, nothing when the window closes.
fn next(shared: &SharedQueue) -> Option<(Request, CancelToken)> {
    let mut queue = lock(&shared.queue);
    loop {
        if queue.closed {
            return None;
        }
        if let Some((_, request)) = queue.wanted.pop_first() {
            let cancel = CancelToken::new();
            queue.busy = Some(Busy {
                key: (request.candidate, request.matrix, request.setting),
                cancel: cancel.clone(),
            });
            return Some((request, cancel));
        }
        queue = shared
            .wake
            .wait(queue)
            .unwrap_or_else(PoisonError::into_inner);
    }
}

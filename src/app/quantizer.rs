//! Quantizes single matrices in the background while sliders move.
//!
//! The newest request of a matrix wins: an older one that waits is replaced, one that is being
//! computed is dropped when it is done.

use super::candidate::Candidate;
use super::derived::{Built, Loaded};
use super::jobs::{lock, panic_sentence, spawn};
use crate::compress::compress_tensor;
use crate::packed::LiveModel;
use crate::recipe::Setting;
use eframe::egui::Context;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// One matrix to be quantized and exchanged in the running tensors.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) candidate: Candidate,
    /// Index in [`Loaded::matrices`].
    pub(super) matrix: usize,
    pub(super) setting: Setting,
    pub(super) loaded: Arc<Loaded>,
    pub(super) live: Arc<LiveModel>,
}

/// A matrix that was exchanged.
#[derive(Debug)]
pub(super) struct Requantized {
    pub(super) candidate: Candidate,
    pub(super) matrix: usize,
    pub(super) built: Built,
    pub(super) live: Arc<LiveModel>,
}

/// The background thread and its queue; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Quantizer {
    shared: Arc<Shared>,
    results: Receiver<Result<Requantized, String>>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    wanted: BTreeMap<(Candidate, usize), Request>,
    /// What is being computed.
    busy: Option<(Candidate, usize, Setting)>,
    closed: bool,
}

impl Quantizer {
    /// Starts the thread; `ctx` gets a new frame for each result.
    pub(super) fn new(ctx: &Context) -> Result<Self, String> {
        let shared = Arc::new(Shared::default());
        let (sender, results) = sync_channel(64);
        let (theirs, ctx) = (Arc::clone(&shared), ctx.clone());
        spawn("quantizer", move || serve(&theirs, &sender, &ctx))?;
        Ok(Self { shared, results })
    }

    /// Asks for what `candidate` needs now; what it asked for earlier and needs no longer is forgotten.
    pub(super) fn ask(&self, candidate: Candidate, requests: Vec<Request>) {
        let mut queue = lock(&self.shared.queue);
        queue.wanted.retain(|(owner, _), _| *owner != candidate);
        let busy = queue.busy;
        for request in requests {
            let running = (candidate, request.matrix, request.setting);
            // What is being computed with this very setting needs no second run.
            if busy != Some(running) {
                queue.wanted.insert((candidate, request.matrix), request);
            }
        }
        self.shared.wake.notify_one();
    }

    /// Forgets everything that waits.
    pub(super) fn clear(&self) {
        lock(&self.shared.queue).wanted.clear();
    }

    /// Matrices that wait or are being computed.
    pub(super) fn pending(&self) -> usize {
        let queue = lock(&self.shared.queue);
        queue.wanted.len() + usize::from(queue.busy.is_some())
    }

    /// Results since the last call.
    pub(super) fn results(&self) -> impl Iterator<Item = Result<Requantized, String>> {
        self.results.try_iter()
    }
}

impl Drop for Quantizer {
    fn drop(&mut self) {
        let mut queue = lock(&self.shared.queue);
        queue.closed = true;
        queue.wanted.clear();
        self.shared.wake.notify_one();
    }
}

fn serve(shared: &Shared, results: &SyncSender<Result<Requantized, String>>, ctx: &Context) {
    while let Some(request) = next(shared) {
        let key = (request.candidate, request.matrix);
        let result = catch_unwind(AssertUnwindSafe(|| {
            let Loaded {
                model, matrices, ..
            } = &*request.loaded;
            let tensor = &model.tensors[matrices[request.matrix].tensor];
            compress_tensor(model, tensor, request.setting, None)
        }));
        let mut queue = lock(&shared.queue);
        queue.busy = None;
        if queue.closed {
            return;
        }
        let is_stale = queue.wanted.contains_key(&key);
        drop(queue);
        let outcome = match result {
            Ok(_) if is_stale => continue,
            Ok(tensor) => {
                let built = Built {
                    setting: request.setting,
                    nmse: tensor.nmse,
                };
                request
                    .live
                    .replace(Arc::new(tensor))
                    .map(|_| Requantized {
                        candidate: request.candidate,
                        matrix: request.matrix,
                        built,
                        live: request.live,
                    })
                    .map_err(|error| error.to_string())
            }
            Err(panic) => Err(panic_sentence(&*panic)),
        };
        if results.send(outcome).is_err() {
            return;
        }
        ctx.request_repaint();
    }
}

/// Waits for work; nothing when the window closes.
fn next(shared: &Shared) -> Option<Request> {
    let mut queue = lock(&shared.queue);
    loop {
        if queue.closed {
            return None;
        }
        if let Some((_, request)) = queue.wanted.pop_first() {
            queue.busy = Some((request.candidate, request.matrix, request.setting));
            return Some(request);
        }
        queue = shared
            .wake
            .wait(queue)
            .unwrap_or_else(PoisonError::into_inner);
    }
}

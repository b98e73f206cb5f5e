//! What the inputs of each linear map look like on text: the second moments that calibrated
//! quantizers and pruners weigh their errors with.
//!
//! A calibration carries all windows through the original model block by block, so that one block's
//! moments are in memory at a time; they are kept on disk under the hashes of model and tokens, and
//! paid for once.

mod store;
mod text;

pub(crate) use text::conversations;
pub(crate) use text::sha256_of_tokens;
pub use text::{CalibrationText, DEFAULT_TOKENS, WINDOW};

use crate::forward::{Block, Frame, Head, Input, Seen, Values as _};
use crate::job::{Cancelled, Job};
use crate::lanes::{sum, widest};
use crate::linear::{add_gram, mirror_lower};
use crate::model::{Misfit, Model, ModelError, Tensor};
use crate::saved_format::NewerFormat;
use crate::warning::Warning;
use engine::shape::Role;
use ndarray::{Array2, ArrayView1, ArrayView2, Axis, s};
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// Windows whose activations are held at a time.
const BATCH: usize = 4;

/// Why a model cannot be calibrated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrateError {
    /// The text is too short.
    #[error("expected at least 16 tokens of text to calibrate on, found {tokens} in {name}")]
    ShortText {
        /// The text.
        name: String,
        /// Tokens that it has.
        tokens: usize,
    },
    /// A line of a file is no conversation.
    #[error(
        "{name}, line {line}: expected {{\"messages\": [{{\"role\": .., \"content\": ..}}]}}: {message}"
    )]
    Chat {
        /// The file.
        name: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
    /// The text cannot be encoded, or the chat template refuses it.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A file of the cache is not what was written.
    #[error("{path} is damaged: delete it, and the model is calibrated anew")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// A newer Whittle wrote a file of the cache.
    #[error(transparent)]
    Newer(#[from] NewerFormat),
    /// Weights that the text runs through are no finite numbers.
    #[error("expected finite weights in {tensor}, found {found}")]
    Weights {
        /// GGUF name.
        tensor: String,
        /// How many, and where.
        found: Misfit,
    },
    /// What the text makes of finite weights is no finite number.
    #[error(
        "expected finite inputs of {} on the calibration text, found {found} that are not, the first in column {col} (from 0)",
        .reader
    )]
    Activations {
        /// The matrices that read them.
        reader: String,
        /// How many columns.
        found: usize,
        /// The first.
        col: usize,
    },
    /// The system cannot read or write the cache.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The work was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Second moments of the inputs of a linear map: the mean of `x xᵀ` over tokens, `[cols, cols]`,
/// symmetric.
///
/// Up to a factor the Hessian of the squared error of the map's outputs in the weights of one row, the
/// same for every row (Frantar et al. 2022, GPTQ, arXiv:2210.17323).
#[derive(Debug, Clone, PartialEq)]
pub struct Hessian {
    moments: Array2<f32>,
    tokens: usize,
    outputs: Vec<(Role, f64)>,
}

impl Hessian {
    /// Moments `[cols, cols]` that were averaged over `tokens` tokens.
    ///
    /// # Panics
    /// When the matrix is not square.
    #[must_use]
    pub fn new(moments: Array2<f32>, tokens: usize) -> Self {
        assert!(moments.is_square(), "moments of {:?}", moments.dim());
        Self {
            moments,
            tokens,
            outputs: Vec::new(),
        }
    }

    /// The same, knowing how large the outputs of the matrices are that read these inputs: of each the
    /// mean over tokens of the summed squares.
    #[must_use]
    pub fn with_outputs(self, outputs: Vec<(Role, f64)>) -> Self {
        Self { outputs, ..self }
    }

    /// `tr(W H Wᵀ)` of the model's matrix `W` with this role, if it was measured.
    #[must_use]
    pub fn output_squares(&self, role: Role) -> Option<f64> {
        let found = self.outputs.iter().find(|(of, _)| *of == role);
        found.map(|(_, squares)| *squares)
    }

    /// The moments `[cols, cols]`.
    #[must_use]
    pub fn moments(&self) -> &Array2<f32> {
        &self.moments
    }

    /// The mean square of each input `[cols]`.
    #[must_use]
    pub fn mean_squares(&self) -> ArrayView1<'_, f32> {
        self.moments.diag()
    }

    /// Tokens that they are the mean of.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.tokens
    }
}

/// The moments of every linear map of one model on one text, on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calibration {
    folder: PathBuf,
    layers: u32,
    is_tied: bool,
    /// Name, hash and length of the text, and the hash of the model.
    pub origin: Origin,
}

/// What a calibration was computed from.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Origin {
    /// SHA-256 of the model's weights.
    pub model_sha256: String,
    /// Name of the text.
    pub text: String,
    /// SHA-256 of its tokens.
    pub text_sha256: String,
    /// Tokens.
    pub tokens: usize,
}

impl Origin {
    /// A warning where `model` was calibrated on fewer tokens than its residual stream has elements.
    ///
    /// Second moments of `n` inputs from fewer than `n` tokens are singular: a solver moves errors to
    /// where the text has nothing, and what the next text has there can be ruined. The threshold is
    /// reasoned from the rank, not measured: at 2 and 3 bits hearth gained even from 19 and 35 tokens.
    #[must_use]
    pub fn warning(&self, model: &Model) -> Option<Warning> {
        let (tokens, fewest) = (self.tokens, model.hyperparameters.hidden as usize);
        (tokens < fewest).then_some(Warning::ShortCalibration { tokens, fewest })
    }
}

/// Sums over the windows seen so far.
struct Sums {
    inputs: Vec<(Input, Array2<f32>)>,
    outputs: Vec<(Role, f64)>,
    tokens: usize,
}

impl Sums {
    fn new(widths: impl IntoIterator<Item = (Input, usize)>) -> Self {
        let zeros = |(input, width)| (input, Array2::zeros((width, width)));
        Self {
            inputs: widths.into_iter().map(zeros).collect(),
            outputs: Vec::new(),
            tokens: 0,
        }
    }

    fn add(&mut self, seen: Seen<'_>) {
        match seen {
            Seen::Input(input, x) => {
                if let Some((_, sum)) = self.inputs.iter_mut().find(|(i, _)| *i == input) {
                    add_gram(x, sum);
                }
            }
            Seen::Output(role, y) => {
                let squares = sum_of_squares(y);
                match self.outputs.iter_mut().find(|(of, _)| *of == role) {
                    Some((_, sum)) => *sum += squares,
                    None => self.outputs.push((role, squares)),
                }
            }
        }
    }

    fn finish(self) -> store::Moments {
        let (tokens, outputs) = (self.tokens, self.outputs);
        let mean = |(input, mut sum): (Input, Array2<f32>)| {
            mirror_lower(&mut sum);
            sum /= tokens.max(1) as f32;
            let here = outputs.iter().filter(|(r, _)| Input::of(*r) == Some(input));
            let mean = here.map(|(role, squares)| (*role, squares / tokens.max(1) as f64));
            (
                input,
                Hessian::new(sum, tokens).with_outputs(mean.collect()),
            )
        };
        self.inputs.into_iter().map(mean).collect()
    }
}

/// Checks what was measured of a layer, or of the head: a mean square of a column is finite where all its
/// inputs are.
fn require_finite(
    model: &Model,
    layer: Option<u32>,
    moments: &store::Moments,
) -> Result<(), CalibrateError> {
    let wrong = moments.iter().find_map(|(input, hessian)| {
        let squares = hessian.mean_squares();
        let found = squares.iter().filter(|x| !x.is_finite()).count();
        let col = squares.iter().position(|x| !x.is_finite())?;
        Some((*input, found, col))
    });
    let Some((input, found, col)) = wrong else {
        return Ok(());
    };
    // Weights that come before, or else numbers that grew too large on the way.
    let is_before = |t: &&Tensor| layer.is_none_or(|layer| t.layer.is_none_or(|of| of <= layer));
    for tensor in model.tensors.iter().filter(is_before) {
        let read = |row: usize, out: &mut [f32]| model.row(tensor, row, out);
        if let Some(found) = Misfit::find((tensor.rows, tensor.cols), read, |w| !w.is_finite()) {
            let tensor = tensor.name.clone();
            return Err(CalibrateError::Weights { tensor, found });
        }
    }
    let is_reader = |t: &&Tensor| t.layer == layer && Input::of(t.role) == Some(input);
    let readers = model
        .tensors
        .iter()
        .filter(is_reader)
        .map(|t| t.name.as_str());
    let reader = match readers.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "the output head".to_owned(),
        readers => readers,
    };
    Err(CalibrateError::Activations { reader, found, col })
}

fn sum_of_squares(y: ArrayView2<'_, f32>) -> f64 {
    let parts = y.to_slice().expect("row-major").par_chunks(4096);
    let square = |part: &[f32]| widest(|| sum(part, |y| y * y));
    parts.map(square).collect::<Vec<f64>>().iter().sum()
}

impl Calibration {
    /// Computes the moments of `model` on `text`, or takes up what `cache`, a folder, has of them.
    ///
    /// # Errors
    /// When the cache cannot be read or written, or the job is cancelled; what was computed by then
    /// stays in the cache, and the next call goes on from there.
    pub fn compute(
        model: &Model,
        text: &CalibrationText,
        cache: &Path,
        job: &Job<'_>,
    ) -> Result<Self, CalibrateError> {
        let calibration = Self::at(model, text, cache, job)?;
        if !calibration.is_whole() {
            calibration.run(model, text, job)?;
        }
        Ok(calibration)
    }

    /// What `cache` has of the moments of `model` on `text`, if it has them all; computes nothing but
    /// the model's hash.
    ///
    /// # Errors
    /// When the job is cancelled.
    pub fn find(
        model: &Model,
        text: &CalibrationText,
        cache: &Path,
        job: &Job<'_>,
    ) -> Result<Option<Self>, Cancelled> {
        // Where nothing was ever calibrated there is no need to read a model of gigabytes.
        if !cache.is_dir() {
            return Ok(None);
        }
        let calibration = Self::at(model, text, cache, job)?;
        Ok(Some(calibration).filter(Self::is_whole))
    }

    fn at(
        model: &Model,
        text: &CalibrationText,
        cache: &Path,
        job: &Job<'_>,
    ) -> Result<Self, Cancelled> {
        let origin = Origin {
            model_sha256: model.sha256(job)?,
            text: text.name.clone(),
            text_sha256: text.sha256.clone(),
            tokens: text.tokens(),
        };
        let key = |hash: &str| hash.chars().take(16).collect::<String>();
        let name = format!("{}-{}", key(&origin.model_sha256), key(&origin.text_sha256));
        Ok(Self {
            folder: cache.join(name),
            layers: model.hyperparameters.layers,
            is_tied: model.tensor(Role::Output, None).is_none(),
            origin,
        })
    }

    /// The tokens of a longer piece of its text that it did not see.
    #[must_use]
    pub fn unseen(&self, text: &CalibrationText) -> Vec<u32> {
        let tokens = text.windows.concat();
        let seen = self.origin.tokens.min(tokens.len());
        tokens[seen..].to_vec()
    }

    /// The head comes last.
    fn is_whole(&self) -> bool {
        self.file(None).exists()
    }

    /// What the matrix of this role reads; nothing for what is no linear map. An embedding is one when it
    /// is the output head too.
    #[must_use]
    pub fn input_of(&self, role: Role) -> Option<Input> {
        Input::of(role).filter(|_| role != Role::Embedding || self.is_tied)
    }

    /// The second moments of what each linear map of a layer reads, or of what the output head reads.
    ///
    /// # Errors
    /// When the cache cannot be read.
    pub fn hessians(&self, layer: Option<u32>) -> Result<Vec<(Input, Hessian)>, CalibrateError> {
        store::load(&self.file(layer))
    }

    /// The second moments of what one matrix reads; nothing for what is no linear map.
    ///
    /// # Errors
    /// When the cache cannot be read.
    pub fn hessian(
        &self,
        role: Role,
        layer: Option<u32>,
    ) -> Result<Option<Hessian>, CalibrateError> {
        let Some(input) = self.input_of(role) else {
            return Ok(None);
        };
        let found = self.hessians(layer)?.into_iter().find(|(i, _)| *i == input);
        Ok(found.map(|(_, hessian)| hessian))
    }

    /// Bytes of its files.
    #[must_use]
    pub fn bytes_on_disk(&self) -> u64 {
        let files = std::fs::read_dir(&self.folder).into_iter().flatten();
        let sizes = files.flatten().filter_map(|file| file.metadata().ok());
        sizes.map(|m| m.len()).sum()
    }

    /// Where it is kept.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of a layer, or of the head.
    fn file(&self, layer: Option<u32>) -> PathBuf {
        self.folder.join(match layer {
            Some(layer) => format!("layer-{layer:04}"),
            None => "head".to_owned(),
        })
    }

    /// The residual stream before the first block whose moments are missing.
    fn stream_file(&self) -> PathBuf {
        self.folder.join("stream")
    }

    fn run(
        &self,
        model: &Model,
        text: &CalibrationText,
        job: &Job<'_>,
    ) -> Result<(), CalibrateError> {
        let window = text.windows.first().map_or(0, Vec::len);
        let frame = Frame::new(model, window);
        let shape = &model.hyperparameters;
        let widths = [
            (Input::Attention, shape.hidden),
            (Input::AttentionOutput, shape.query_width()),
            (Input::FeedForward, shape.hidden),
            (Input::Down, shape.feed_forward),
        ];
        let widths = widths.map(|(input, width)| (input, width as usize));
        let rows = BATCH * window;
        let steps = text.tokens().div_ceil(rows) as u64;
        let total = u64::from(self.layers + 1) * steps;
        let (first, mut x) = self.resume(model, text);
        for layer in first..self.layers {
            let block = Block::load(model, layer);
            let mut sums = Sums::new(widths);
            for (step, mut part) in x.axis_chunks_iter_mut(Axis(0), rows).enumerate() {
                job.report("Calibrating", u64::from(layer) * steps + step as u64, total)?;
                let mut stream = part.to_owned();
                block.forward(&frame, &mut stream, &mut |seen| sums.add(seen));
                part.assign(&stream);
                sums.tokens += stream.nrows();
            }
            let moments = sums.finish();
            require_finite(model, Some(layer), &moments)?;
            store::save(&self.file(Some(layer)), &moments)?;
            self.keep_stream(layer + 1, &x)?;
        }
        let head = Head::load(model);
        let mut sums = Sums::new([(Input::Output, shape.hidden as usize)]);
        for part in x.axis_chunks_iter(Axis(0), rows) {
            job.report("Calibrating", total - 1, total)?;
            let input = head.input(&frame, &part.to_owned());
            sums.add(Seen::Input(Input::Output, input.view()));
            sums.tokens += part.nrows();
        }
        let moments = sums.finish();
        require_finite(model, None, &moments)?;
        store::save(&self.file(None), &moments)?;
        // What is left of it only takes room.
        drop(std::fs::remove_file(self.stream_file()));
        Ok(job.report("Calibrating", total, total)?)
    }

    /// The first block that is still to be done, and the residual stream `[tokens, hidden]` before it.
    fn resume(&self, model: &Model, text: &CalibrationText) -> (u32, Array2<f32>) {
        let mut x = Array2::zeros((text.tokens(), model.hyperparameters.hidden as usize));
        if let Some(layer) = self.kept_stream(&mut x) {
            return (layer, x);
        }
        let window = text.windows.first().map_or(0, Vec::len);
        for (index, tokens) in text.windows.iter().enumerate() {
            let rows = s![index * window..(index + 1) * window, ..];
            x.slice_mut(rows).assign(&model.embed(tokens));
        }
        (0, x)
    }

    /// Stores the layer, the stream and a checksum.
    fn keep_stream(&self, layer: u32, x: &Array2<f32>) -> Result<(), CalibrateError> {
        let mut bytes = Vec::with_capacity(x.len() * 4 + 8);
        bytes.extend(layer.to_le_bytes());
        x.iter().for_each(|v| bytes.extend(v.to_le_bytes()));
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        store::write_whole(&self.stream_file(), &bytes)
    }

    /// Reads what [`Self::keep_stream`] stored into `x`; nothing when it is not there or not whole.
    fn kept_stream(&self, x: &mut Array2<f32>) -> Option<u32> {
        let bytes = std::fs::read(self.stream_file()).ok()?;
        let (content, crc) = bytes.split_last_chunk::<4>()?;
        let (layer, values) = content.split_first_chunk::<4>()?;
        let is_whole =
            values.len() == x.len() * 4 && crc32fast::hash(content) == u32::from_le_bytes(*crc);
        let layer = u32::from_le_bytes(*layer);
        if !is_whole || (0..layer).any(|layer| !self.file(Some(layer)).exists()) {
            return None;
        }
        for (x, bytes) in x.iter_mut().zip(values.as_chunks().0) {
            *x = f32::from_le_bytes(*bytes);
        }
        Some(layer)
    }
}

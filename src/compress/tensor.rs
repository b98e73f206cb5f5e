//! One matrix through the methods of its setting, whether it is a model's or stands alone.

use super::feedback::Feedback;
use super::plan::Plan;
use super::quantize::{Guide, encode_as};
use super::rows::Rows;
use super::unstorable::refusal;
use super::{CompressError, twin};
use crate::calibrate::Hessian;
use crate::job::Job;
use crate::model::{Model, Tensor};
use crate::recipe::{Pruner, Quantizer, Setting};
use engine::encoding::{Encoding, Twin};
use engine::matrix::Matrix;
use engine::shape::Role;

/// One tensor in the engine's bytes, with the error that it suffered.
#[derive(Debug, Clone, PartialEq)]
pub struct CompressedTensor {
    /// GGUF name.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// Its layer, for roles that each layer has.
    pub layer: Option<u32>,
    /// Output width.
    pub rows: usize,
    /// Input width.
    pub cols: usize,
    /// What the recipe asked.
    pub setting: Setting,
    /// How it is stored.
    pub encoding: Encoding,
    /// Weights kept in each row.
    pub kept: usize,
    /// Its bytes: scales, masks and padding included.
    pub bytes: Vec<u8>,
    /// Sum of squared errors over sum of squared weights, against the source; 0 is lossless.
    pub nmse: f64,
    /// Mean squared error of the outputs over their mean square, on the text of the Hessian if there was
    /// one.
    pub output_error: Option<f64>,
    /// What was really done.
    pub methods: Methods,
}

/// How a matrix was rounded and pruned: not as its setting asks where there was no Hessian to do it with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Methods {
    /// How kept weights were rounded.
    pub quantizer: Quantizer,
    /// How the others were chosen; magnitude where all are kept.
    pub pruner: Pruner,
}

/// A matrix in the engine's bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct CompressedWeights {
    /// How it is stored.
    pub encoding: Encoding,
    /// Weights kept in each row.
    pub kept: usize,
    /// Its bytes: scales, masks and padding included.
    pub bytes: Vec<u8>,
    /// Sum of squared errors over sum of squared weights.
    pub nmse: f64,
    /// `tr(E H Eᵀ) / tr(W H Wᵀ)` with the errors `E`, where there was a Hessian `H`.
    pub output_error: Option<f64>,
    /// What was really done.
    pub methods: Methods,
}

impl CompressedTensor {
    /// The tensor as the engine reads it.
    #[must_use]
    pub fn matrix(&self) -> Matrix<'_> {
        Matrix::new(self.encoding, self.rows, self.cols, self.kept, &self.bytes)
            .expect("encoded to this very length")
    }

    /// Whether every weight is what it was in the source.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        // A sum of squares of differences, none of which is so small that its square is 0.
        self.nmse == 0.0
    }
}

/// Compresses one tensor; what is not a matrix stays in 32-bit floats.
///
/// # Errors
/// When weights cannot be stored.
///
/// # Panics
/// When the Hessian is not `[cols, cols]`.
pub fn compress_tensor(
    model: &Model,
    tensor: &Tensor,
    setting: Setting,
    hessian: Option<&Hessian>,
) -> Result<CompressedTensor, CompressError> {
    let feedback = hessian.map(Feedback::new);
    compress_tensor_with(model, tensor, setting, feedback.as_ref(), &Job::silent())
}

/// Compresses one tensor with a Hessian that other tensors may share.
///
/// # Errors
/// When weights cannot be stored, or the job is cancelled.
///
/// # Panics
/// When the Hessian is not `[cols, cols]`.
pub fn compress_tensor_with(
    model: &Model,
    tensor: &Tensor,
    setting: Setting,
    feedback: Option<&Feedback<'_>>,
    job: &Job<'_>,
) -> Result<CompressedTensor, CompressError> {
    let (setting, encoding) = stored_as(tensor, setting);
    let compressed = match encoding {
        Encoding::Twin(kind) => CompressedWeights {
            encoding,
            kept: tensor.cols,
            bytes: repacked(kind, model, tensor)?,
            nmse: 0.0,
            output_error: feedback.map(|_| 0.0),
            methods: Methods::default(),
        },
        Encoding::F32
        | Encoding::F16
        | Encoding::Dense(_)
        | Encoding::Ternary
        | Encoding::OneOfFour
        | Encoding::Sparse(_) => {
            let rows = Rows::Stored { model, tensor };
            compress_as(encoding, rows, setting, feedback, job)?
        }
    };
    Ok(named(tensor, setting, compressed))
}

/// Bytes of a tensor that is compressed by a setting.
#[must_use]
pub fn packed_bytes(tensor: &Tensor, setting: Setting) -> usize {
    let Tensor { rows, cols, .. } = *tensor;
    let (setting, encoding) = stored_as(tensor, setting);
    encoding.bytes(rows, cols, setting.kept(cols))
}

/// What a setting comes to where it is asked of this tensor, and the encoding.
fn stored_as(tensor: &Tensor, setting: Setting) -> (Setting, Encoding) {
    if tensor.role.is_matrix() {
        let encoding = setting.encoding(tensor.rows, tensor.cols, Some(tensor.source));
        (setting, encoding)
    } else {
        (Setting::REFERENCE, Encoding::F32)
    }
}

/// A tensor in llama.cpp's blocks, in the engine's order.
fn repacked(kind: Twin, model: &Model, tensor: &Tensor) -> Result<Vec<u8>, CompressError> {
    let source = model.source_bytes(tensor);
    if !twin::has_finite_scales(kind, source) {
        return Err(refusal(Encoding::Twin(kind), Rows::Stored { model, tensor }).into());
    }
    Ok(twin::repack(kind, tensor.cols, source))
}

/// Compresses the values of a tensor `[rows, cols]`, of which some may have been zeroed, without a
/// calibration.
pub(super) fn compress_values(
    model: &Model,
    tensor: &Tensor,
    setting: Setting,
    values: &[f32],
) -> Result<CompressedTensor, CompressError> {
    match compress_weights(values, tensor.cols, setting, None) {
        Ok(compressed) => Ok(named(tensor, setting, compressed)),
        // The tensor itself says what is wrong, by its name.
        Err(CompressError::Weights(_)) => compress_tensor(model, tensor, setting, None),
        Err(error @ (CompressError::Calibrate(_) | CompressError::Cancelled(_))) => Err(error),
    }
}

fn named(tensor: &Tensor, setting: Setting, compressed: CompressedWeights) -> CompressedTensor {
    let CompressedWeights {
        encoding,
        kept,
        bytes,
        nmse,
        output_error,
        methods,
    } = compressed;
    CompressedTensor {
        name: tensor.name.clone(),
        role: tensor.role,
        layer: tensor.layer,
        rows: tensor.rows,
        cols: tensor.cols,
        setting,
        encoding,
        kept,
        bytes,
        nmse,
        output_error,
        methods,
    }
}

/// Compresses a matrix `[rows, cols]`, row-major, of no model.
///
/// # Errors
/// When weights cannot be stored.
///
/// # Panics
/// When `weights` is not whole rows, or the Hessian is not `[cols, cols]`.
pub fn compress_weights(
    weights: &[f32],
    cols: usize,
    setting: Setting,
    feedback: Option<&Feedback<'_>>,
) -> Result<CompressedWeights, CompressError> {
    assert!(weights.len().is_multiple_of(cols), "whole rows of {cols}");
    let encoding = setting.encoding(weights.len() / cols, cols, None);
    let values = weights;
    let rows = Rows::Floats { values, cols };
    compress_as(encoding, rows, setting, feedback, &Job::silent())
}

fn compress_as(
    encoding: Encoding,
    rows: Rows<'_>,
    setting: Setting,
    feedback: Option<&Feedback<'_>>,
    job: &Job<'_>,
) -> Result<CompressedWeights, CompressError> {
    let cols = rows.cols();
    if let Some(feedback) = feedback {
        let inputs = feedback.hessian().moments().nrows();
        assert_eq!(inputs, cols, "inputs of the Hessian");
    }
    let (plan, factor) = Plan::new(&setting, encoding, cols, feedback);
    let guide = feedback.map(|feedback| Guide {
        feedback,
        factor,
        output_squares: rows
            .role()
            .and_then(|role| feedback.hessian().output_squares(role)),
    });
    let encoded = encode_as(&plan, guide, rows, job)?;
    Ok(CompressedWeights {
        encoding,
        kept: plan.kept,
        nmse: encoded.nmse,
        output_error: encoded.output_error,
        methods: Methods {
            quantizer: plan.quantizer,
            pruner: plan.pruner,
        },
        bytes: encoded.bytes,
    })
}

/// The rotary frequencies: a table that the engine reads like any other tensor.
///
/// # Errors
/// When one is no finite number.
pub(super) fn frequencies(model: &Model) -> Result<CompressedTensor, CompressError> {
    let cols = model.rope_frequencies.len();
    let plan = Plan::nearest(Encoding::F32, cols, cols);
    let values = &model.rope_frequencies;
    let frequencies = encode_as(&plan, None, Rows::Floats { values, cols }, &Job::silent());
    Ok(CompressedTensor {
        name: Role::RopeFrequencies.gguf_name().into(),
        role: Role::RopeFrequencies,
        layer: None,
        rows: 1,
        cols,
        setting: Setting::REFERENCE,
        encoding: Encoding::F32,
        kept: cols,
        bytes: frequencies?.bytes,
        nmse: 0.0,
        output_error: None,
        methods: Methods::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::testing::{hessian, weights};
    use crate::recipe::{NOfM, Precision};
    use ndarray::Array2;

    const QUANTIZED: [Precision; 8] = [
        Precision::One,
        Precision::Ternary,
        Precision::Two,
        Precision::Three,
        Precision::Four,
        Precision::Five,
        Precision::Six,
        Precision::Eight,
    ];

    fn with(method: Quantizer, pruner: Pruner, setting: Setting) -> Setting {
        Setting {
            method,
            pruner,
            ..setting
        }
    }

    fn values(compressed: &CompressedWeights, rows: usize, cols: usize) -> Vec<f32> {
        let CompressedWeights {
            encoding,
            kept,
            bytes,
            ..
        } = compressed;
        let matrix = Matrix::new(*encoding, rows, cols, *kept, bytes).unwrap();
        let mut values = vec![0.0; rows * cols];
        for (row, values) in values.chunks_exact_mut(cols).enumerate() {
            matrix.dequantize_row(row, values);
        }
        values
    }

    /// Squared errors, each times an importance of its column.
    fn weighted(weights: &[f32], values: &[f32], importance: &[f32]) -> f64 {
        let cols = importance.len();
        let pairs = weights.iter().zip(values).enumerate();
        pairs
            .map(|(i, (w, q))| f64::from(importance[i % cols]) * f64::from(w - q).powi(2))
            .sum()
    }

    #[test]
    fn each_method_is_better_than_the_one_before_at_every_width() {
        let (rows, cols) = (20, 200);
        let (weights, hessian) = (weights(rows, cols, 3), hessian(cols, 600, 4));
        let feedback = Feedback::new(&hessian);
        for precision in QUANTIZED {
            let [nearest, search, gptq] = Quantizer::ALL.map(|method| {
                let setting = with(method, Pruner::Magnitude, Setting::bits(precision));
                let compressed =
                    compress_weights(&weights, cols, setting, Some(&feedback)).unwrap();
                assert_eq!(compressed.methods.quantizer, method);
                let values = values(&compressed, rows, cols);
                let own = weighted(&weights, &values, feedback.importance());
                let plain = weighted(&weights, &values, &vec![1.0; cols]);
                let size = weighted(&weights, &vec![0.0; values.len()], &vec![1.0; cols]);
                assert!((compressed.nmse / (plain / size) - 1.0).abs() < 1e-9);
                (own, compressed.output_error.unwrap())
            });
            let name = precision.name();
            assert!(search.0 <= nearest.0, "{name}: {search:?} {nearest:?}");
            assert!(gptq.1 < 0.7 * search.1, "{name}: {gptq:?} {search:?}");
        }
    }

    #[test]
    fn a_search_without_text_lowers_the_plain_error() {
        let (rows, cols) = (9, 150);
        let weights = weights(rows, cols, 6);
        for precision in QUANTIZED {
            for sparsity in [0.0, 0.2, 0.6] {
                let setting = Setting::sparse(precision, sparsity);
                let nearest = compress_weights(&weights, cols, setting, None).unwrap();
                let setting = with(Quantizer::Search, Pruner::Magnitude, setting);
                let search = compress_weights(&weights, cols, setting, None).unwrap();
                assert!(
                    search.nmse <= nearest.nmse,
                    "{} {sparsity}",
                    precision.name()
                );
            }
        }
    }

    #[test]
    fn what_cannot_be_done_without_text_is_done_otherwise_and_said() {
        let weights = weights(16, 64, 7);
        let check = |setting: Setting, feedback: Option<&Feedback<'_>>, quantizer, pruner| {
            let methods = compress_weights(&weights, 64, setting, feedback)
                .unwrap()
                .methods;
            assert_eq!(methods, Methods { quantizer, pruner }, "{setting:?}");
        };
        let three = Setting::sparse(Precision::Three, 0.5);
        let best = with(Quantizer::Gptq, Pruner::SparseGpt, three);
        check(best, None, Quantizer::Search, Pruner::Magnitude);
        let broken = Hessian::new(Array2::from_elem((64, 64), f32::NAN), 9);
        let broken = Feedback::new(&broken);
        check(best, Some(&broken), Quantizer::Search, Pruner::Wanda);
        let good = hessian(64, 200, 8);
        let good = Feedback::new(&good);
        check(best, Some(&good), Quantizer::Gptq, Pruner::SparseGpt);
        let wanda = with(Quantizer::Nearest, Pruner::Wanda, three);
        check(wanda, Some(&good), Quantizer::Nearest, Pruner::Wanda);
        // Nothing to prune, nothing to round to.
        let whole = with(Quantizer::Gptq, Pruner::SparseGpt, Setting::REFERENCE);
        check(whole, Some(&good), Quantizer::Nearest, Pruner::Magnitude);
    }

    #[test]
    fn wanda_keeps_the_largest_products_of_weight_and_input() {
        let (rows, cols) = (5, 96);
        let (weights, hessian) = (weights(rows, cols, 11), hessian(cols, 300, 12));
        let feedback = Feedback::new(&hessian);
        let half = Setting::sparse(Precision::Sixteen, 0.5);
        let setting = with(Quantizer::Nearest, Pruner::Wanda, half);
        let pruned = compress_weights(&weights, cols, setting, Some(&feedback)).unwrap();
        let values = values(&pruned, rows, cols);
        for (values, weights) in values.chunks(cols).zip(weights.chunks(cols)) {
            let score = |col: usize| weights[col].abs() * feedback.importance()[col].sqrt();
            let mut order: Vec<usize> = (0..cols).collect();
            order.sort_by(|a, b| score(*b).total_cmp(&score(*a)));
            assert!(order[..48].iter().all(|col| values[*col] != 0.0));
            assert!(order[48..].iter().all(|col| values[*col] == 0.0));
        }
    }

    #[test]
    fn better_pruners_lose_less_and_patterns_hold_in_whatever_is_smallest() {
        let (rows, cols) = (20, 202);
        let (weights, hessian) = (weights(rows, cols, 13), hessian(cols, 600, 14));
        let feedback = Feedback::new(&hessian);
        let settings = [
            (Setting::sparse(Precision::Sixteen, 0.5), "f16"),
            (Setting::sparse(Precision::Four, 0.6), "sparse4"),
            (Setting::sparse(Precision::Three, 0.1), "dense3"),
            (Setting::sparse(Precision::One, 0.8), "sparse1"),
        ];
        let pattern =
            |bits, kept, of| Setting::bits(bits).with_pattern(NOfM::new(kept, of).unwrap());
        let patterns = [
            (pattern(Precision::Four, 2, 4), "sparse4"),
            (pattern(Precision::Two, 4, 8), "sparse2"),
            (pattern(Precision::Four, 15, 16), "dense4"),
            (pattern(Precision::One, 1, 4), "1of4"),
            (pattern(Precision::One, 3, 4), "ternary"),
            (pattern(Precision::Sixteen, 3, 7), "f16"),
        ];
        for (setting, encoding) in settings.into_iter().chain(patterns) {
            let errors = Pruner::ALL.map(|pruner| {
                let setting = with(Quantizer::Search, pruner, setting);
                let compressed =
                    compress_weights(&weights, cols, setting, Some(&feedback)).unwrap();
                assert_eq!(compressed.encoding.name(), encoding);
                let values = values(&compressed, rows, cols);
                let is_kept = |x: &&f32| **x != 0.0;
                for row in values.chunks(cols) {
                    assert!(row.iter().filter(is_kept).count() <= setting.kept(cols));
                    if let Some(pattern) = setting.pattern {
                        let held =
                            |few: &[f32]| few.iter().filter(is_kept).count() <= pattern.kept();
                        assert!(row.chunks(pattern.columns()).all(held), "{setting:?}");
                    }
                }
                compressed.output_error.unwrap()
            });
            // Where little is pruned, rounding decides.
            assert!(errors[1] < 1.05 * errors[0], "{setting:?}: {errors:?}");
            assert!(errors[2] < errors[1], "{setting:?}: {errors:?}");
            let setting = with(Quantizer::Gptq, Pruner::SparseGpt, setting);
            let best = compress_weights(&weights, cols, setting, Some(&feedback)).unwrap();
            assert!(best.output_error.unwrap() < errors[2], "{setting:?}");
        }
    }

    #[test]
    fn the_same_bytes_on_any_number_of_threads() {
        let (weights, hessian) = (weights(150, 160, 15), hessian(160, 300, 16));
        let sparse = Setting::sparse(Precision::Two, 0.5);
        for setting in [sparse, Setting::bits(Precision::Three)] {
            let setting = with(Quantizer::Gptq, Pruner::SparseGpt, setting);
            let on = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
                pool.build().unwrap().install(|| {
                    compress_weights(&weights, 160, setting, Some(&Feedback::new(&hessian)))
                        .unwrap()
                })
            };
            assert_eq!(on(1), on(3));
        }
    }

    #[test]
    fn weights_on_a_grid_stay_whatever_the_method() {
        let (rows, cols) = (70, 128);
        let hessian = hessian(cols, 300, 17);
        let feedback = Feedback::new(&hessian);
        for precision in [
            Precision::One,
            Precision::Ternary,
            Precision::Three,
            Precision::Five,
        ] {
            let setting = Setting::bits(precision);
            let rough = compress_weights(&weights(rows, cols, 18), cols, setting, None).unwrap();
            let values = values(&rough, rows, cols);
            for method in Quantizer::ALL {
                let setting = with(method, Pruner::SparseGpt, setting);
                let again = compress_weights(&values, cols, setting, Some(&feedback)).unwrap();
                assert_eq!(again.nmse, 0.0, "{setting:?}");
            }
        }
    }

    #[test]
    fn odd_weights_and_odd_texts_are_stored_or_refused_and_do_not_panic() {
        let cols = 70;
        let dead = Array2::zeros((cols, cols));
        let mut one = dead.clone();
        one[[3, 3]] = 4.0;
        // Of rank one, and what no text has.
        let flat = Array2::from_elem((cols, cols), 0.25);
        let mut wrong = flat.clone();
        wrong.diag_mut().fill(-1.0);
        let moments = [
            dead,
            one,
            flat,
            wrong,
            Array2::from_elem((cols, cols), f32::INFINITY),
        ];
        let four = Setting::bits(Precision::Four);
        let settings = [
            Setting::bits(Precision::One),
            Setting::bits(Precision::Ternary),
            Setting::bits(Precision::Two),
            Setting::sparse(Precision::Four, 0.5),
            Setting::sparse(Precision::Sixteen, 0.5),
            four.with_pattern(NOfM::new(2, 4).unwrap()),
            Setting::sparse(Precision::One, 0.75),
        ];
        for moments in moments {
            let hessian = Hessian::new(moments, 10);
            let feedback = Feedback::new(&hessian);
            for setting in settings {
                let setting = with(Quantizer::Gptq, Pruner::SparseGpt, setting);
                for value in [0.0, 0.02, f32::NAN, f32::INFINITY, -1e30, 1e-40] {
                    let mut weights = weights(3, cols, 20);
                    weights[cols..].fill(value);
                    let compressed = compress_weights(&weights, cols, setting, Some(&feedback));
                    let is_storable = value.abs() < 1.0;
                    assert_eq!(compressed.is_ok(), is_storable, "{setting:?} {value}");
                    let Ok(compressed) = compressed else {
                        continue;
                    };
                    let expected = compressed.encoding.bytes(3, cols, compressed.kept);
                    assert_eq!(compressed.bytes.len(), expected);
                    let first = &values(&compressed, 3, cols)[..cols];
                    assert!(first.iter().all(|x| x.is_finite()), "{setting:?} {value}");
                }
            }
        }
    }
}

//! Second moments on disk: one file for each block and one for the head.
//!
//! A file is `WHTLCAL2`, the number of Hessians, then for each its input, its width, the tokens, the
//! diagonal in f32, the correlations below the diagonal in 16-bit steps of 1 / 32767, row by row, the
//! number of matrices whose outputs were measured, and of each its role and its squares in f64; last the
//! CRC-32 of all before it. Files of before, `WHTLCAL1`, lack the outputs. Moments are correlations times the roots of the diagonal: 16 bits
//! of those disturb the smallest eigenvalues far less than the damping that every solver adds.

use super::{CalibrateError, Hessian};
use crate::forward::Input;
use crate::saved_format::NewerFormat;
use crate::whole_file;
use engine::shape::Role;
use ndarray::Array2;
use rayon::prelude::*;
use std::path::Path;

/// What files of all formats begin with; the format follows as a digit.
const NAME: &[u8; 7] = b"WHTLCAL";
/// The newest format.
const FORMAT: u32 = 2;
const MAGIC: &[u8; 8] = b"WHTLCAL2";
const WITHOUT_OUTPUTS: &[u8; 8] = b"WHTLCAL1";
/// Steps from no correlation to a whole one.
const STEPS: f32 = 32_767.0;
/// Bytes of one Hessian before its numbers.
const HESSIAN_HEADER: usize = 16;
/// Bytes of the role and the squares of one matrix.
const OUTPUT: usize = 12;

/// The moments of some inputs, as one file holds them.
pub(super) type Moments = Vec<(Input, Hessian)>;

/// Matrices and the squares of their outputs.
type Outputs = Vec<(Role, f64)>;

const INPUTS: [Input; 5] = [
    Input::Attention,
    Input::AttentionOutput,
    Input::FeedForward,
    Input::Down,
    Input::Output,
];

/// Writes a file of moments in one step: it is there whole, or not at all.
pub(super) fn save(path: &Path, moments: &Moments) -> Result<(), CalibrateError> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend((moments.len() as u64).to_le_bytes());
    for (input, hessian) in moments {
        let n = hessian.moments.nrows();
        let number = INPUTS.iter().position(|i| i == input).unwrap_or(0);
        bytes.extend((number as u32).to_le_bytes());
        bytes.extend((n as u32).to_le_bytes());
        bytes.extend((hessian.tokens as u64).to_le_bytes());
        let diagonal: Vec<f32> = hessian.mean_squares().to_vec();
        diagonal.iter().for_each(|d| bytes.extend(d.to_le_bytes()));
        let inverse: Vec<f32> = diagonal
            .iter()
            .map(|d| if *d > 0.0 { 1.0 / d.sqrt() } else { 0.0 })
            .collect();
        let rows: Vec<Vec<u8>> = (0..n)
            .into_par_iter()
            .map(|row| {
                let correlation = |col: usize| {
                    let value = hessian.moments[[row, col]] * inverse[row] * inverse[col];
                    #[expect(clippy::cast_possible_truncation, reason = "saturates at one")]
                    let steps = (value.clamp(-1.0, 1.0) * STEPS).round() as i16;
                    steps.to_le_bytes()
                };
                (0..row).flat_map(correlation).collect()
            })
            .collect();
        rows.iter().for_each(|row| bytes.extend(row));
        bytes.extend((hessian.outputs.len() as u32).to_le_bytes());
        for (role, squares) in &hessian.outputs {
            bytes.extend(u32::from(*role as u8).to_le_bytes());
            bytes.extend(squares.to_le_bytes());
        }
    }
    let crc = crc32fast::hash(&bytes);
    bytes.extend(crc.to_le_bytes());
    write_whole(path, &bytes)
}

/// Writes a file in one step.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), CalibrateError> {
    let failed = |source| CalibrateError::Io {
        action: "write",
        path: path.to_owned(),
        source,
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(failed)?;
    whole_file::write_cached(path, bytes).map_err(failed)
}

/// Reads a file of moments; every length is checked against the file's before anything is allocated.
pub(super) fn load(path: &Path) -> Result<Moments, CalibrateError> {
    let bytes = std::fs::read(path).map_err(|source| CalibrateError::Io {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    if let Some(format) = format(&bytes).filter(|format| *format > FORMAT) {
        return Err(CalibrateError::Newer(NewerFormat {
            kind: "calibration",
            name: path.display().to_string(),
            found: format.into(),
            known: FORMAT,
        }));
    }
    parse(&bytes).ok_or_else(|| CalibrateError::Damaged {
        path: path.to_owned(),
    })
}

/// The format that a file says it has.
fn format(bytes: &[u8]) -> Option<u32> {
    let digit = *bytes.strip_prefix(NAME)?.first()?;
    char::from(digit).to_digit(10)
}

fn parse(bytes: &[u8]) -> Option<Moments> {
    let (content, crc) = bytes.split_last_chunk::<4>()?;
    if crc32fast::hash(content) != u32::from_le_bytes(*crc) {
        return None;
    }
    let (magic, rest) = content.split_first_chunk::<8>()?;
    let (count, mut rest) = rest.split_first_chunk::<8>()?;
    let has_outputs = match magic {
        MAGIC => true,
        WITHOUT_OUTPUTS => false,
        _ => return None,
    };
    if u64::from_le_bytes(*count) > INPUTS.len() as u64 {
        return None;
    }
    let mut moments = Vec::new();
    for _ in 0..u64::from_le_bytes(*count) {
        let (header, body) = rest.split_at_checked(HESSIAN_HEADER)?;
        let word = |at: usize| Some(u32::from_le_bytes(*header[at..].first_chunk()?));
        let input = *INPUTS.get(word(0)? as usize)?;
        let n = word(4)? as usize;
        let tokens = u64::from_le_bytes(*header[8..].first_chunk()?);
        let (diagonal, body) = body.split_at_checked(n.checked_mul(4)?)?;
        let below = n.checked_mul(n.saturating_sub(1))?;
        let (correlations, body) = body.split_at_checked(below)?;
        let (outputs, body) = if has_outputs {
            parse_outputs(body)?
        } else {
            (Vec::new(), body)
        };
        rest = body;
        let moments_of = unpack(n, diagonal, correlations);
        // Files of before were written without a look at what was measured.
        if !moments_of.diag().iter().all(|x| x.is_finite()) {
            return None;
        }
        let hessian = Hessian::new(moments_of, usize::try_from(tokens).ok()?);
        moments.push((input, hessian.with_outputs(outputs)));
    }
    rest.is_empty().then_some(moments)
}

/// The outputs of one Hessian, and the bytes behind them.
fn parse_outputs(bytes: &[u8]) -> Option<(Outputs, &[u8])> {
    let (count, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*count)).ok()?;
    let (outputs, rest) = rest.split_at_checked(length.checked_mul(OUTPUT)?)?;
    let output = |bytes: &[u8; OUTPUT]| {
        let (role, squares) = bytes.split_first_chunk::<4>()?;
        let role = u8::try_from(u32::from_le_bytes(*role)).ok()?;
        let squares = f64::from_le_bytes(*squares.first_chunk()?);
        Some((Role::from_number(role)?, squares))
    };
    let outputs: Option<Outputs> = outputs.as_chunks().0.iter().map(output).collect();
    Some((outputs?, rest))
}

/// The symmetric matrix `[n, n]` of its diagonal and the correlations below it.
fn unpack(n: usize, diagonal: &[u8], correlations: &[u8]) -> Array2<f32> {
    let diagonal: Vec<f32> = diagonal
        .as_chunks()
        .0
        .iter()
        .map(|b| f32::from_le_bytes(*b))
        .collect();
    let roots: Vec<f32> = diagonal.iter().map(|d| d.max(0.0).sqrt()).collect();
    let mut matrix = Array2::zeros((n, n));
    let rows = matrix
        .as_slice_mut()
        .expect("row-major")
        .par_chunks_mut(n.max(1));
    rows.enumerate().for_each(|(row, out)| {
        let start = row * row.saturating_sub(1);
        let steps = correlations[start..start + 2 * row].as_chunks().0;
        for ((out, steps), root) in out.iter_mut().zip(steps).zip(&roots) {
            *out = f32::from(i16::from_le_bytes(*steps)) / STEPS * roots[row] * root;
        }
        out[row] = diagonal[row];
    });
    crate::linear::mirror_lower(&mut matrix);
    matrix
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments() -> Moments {
        let hessian = |n: usize, tokens| {
            let mut matrix = Array2::from_shape_fn((n, n), |(r, c)| {
                1.0 / (1.0 + (r as f32 - c as f32).abs()) * ((r + 1) * (c + 1)) as f32
            });
            matrix.row_mut(1).fill(0.0);
            matrix.column_mut(1).fill(0.0);
            Hessian::new(matrix, tokens)
        };
        let outputs = vec![(Role::Query, 2.5), (Role::Value, 1e9)];
        vec![
            (Input::Attention, hessian(5, 7).with_outputs(outputs)),
            (Input::Down, hessian(9, 1000)),
        ]
    }

    #[test]
    fn moments_survive_the_disk_to_sixteen_bits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/layer");
        save(&path, &moments()).unwrap();
        let found = load(&path).unwrap();
        for ((input, written), (expected, original)) in found.iter().zip(&moments()) {
            assert_eq!((input, written.tokens), (expected, original.tokens));
            assert_eq!(written.mean_squares(), original.mean_squares());
            assert_eq!(written.outputs, original.outputs);
            let largest = original.moments.iter().fold(0f32, |m, x| m.max(*x));
            let close = |(a, b): (&f32, &f32)| (a - b).abs() < largest / 30_000.0;
            assert!(written.moments.iter().zip(&original.moments).all(close));
        }
    }

    #[test]
    fn a_file_of_before_lacks_the_outputs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("layer");
        let (input, hessian) = moments().remove(1);
        save(&path, &vec![(input, hessian.clone())]).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        // The checksum, and that there are no outputs.
        bytes.truncate(bytes.len() - 8);
        bytes[..8].copy_from_slice(WITHOUT_OUTPUTS);
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        let found = parse(&bytes).unwrap();
        assert_eq!(found[0].1.mean_squares(), hessian.mean_squares());
        assert_eq!(found[0].1.output_squares(Role::Down), None);
    }

    #[test]
    fn files_that_were_written_once_are_read_for_good() {
        let files: [&[u8]; 2] = [
            include_bytes!("../../tests/old-files/calibration-1"),
            include_bytes!("../../tests/old-files/calibration-2"),
        ];
        for (file, outputs) in files.into_iter().zip([0, 1]) {
            let moments = parse(file).unwrap();
            let [(input, hessian)] = moments.as_slice() else {
                panic!("{moments:?}");
            };
            assert_eq!((*input, hessian.tokens), (Input::Attention, 128));
            assert_eq!(hessian.mean_squares().to_vec(), [4.0, 1.0, 0.25]);
            assert_eq!(hessian.moments[[1, 0]], 2.0);
            assert_eq!(hessian.outputs.len(), outputs);
        }
    }

    #[test]
    fn a_damaged_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("layer");
        save(&path, &moments()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for length in 0..bytes.len() {
            assert!(parse(&bytes[..length]).is_none());
        }
        for at in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[at] ^= 1;
            assert!(parse(&wrong).is_none());
        }
        // What a newer Whittle wrote is not damaged.
        let mut newer = bytes.clone();
        newer[7] = b'3';
        std::fs::write(&path, newer).unwrap();
        let refused = load(&path).unwrap_err().to_string();
        let expected = "expected format 2 or older, found format 3: a newer Whittle wrote it";
        assert!(refused.ends_with(expected), "{refused}");
        // A width that the file cannot hold, under a right checksum.
        let mut wrong = bytes[..bytes.len() - 4].to_vec();
        wrong[20..24].copy_from_slice(&u32::MAX.to_le_bytes());
        wrong.extend(crc32fast::hash(&wrong).to_le_bytes());
        assert!(parse(&wrong).is_none());
    }
}

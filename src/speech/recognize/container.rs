//! CTranslate2's `model.bin`, version 6, for a Whisper model with f16 or f32 weights.
//!
//! [`Container::read`] checks everything that the file claims against the bytes that it has; what
//! it returns is taken apart by name with [`Container::matrix`] and [`Container::vector`], which
//! check shapes.
//!
//! Layout (little-endian; `ModelReader` in CTranslate2's `src/models/model.cc`): u32 version,
//! string spec, u32 revision, u32 count; for each variable a string name, u8 rank, u32 × rank
//! shape, u8 data type, u32 byte count, data; then u32 count of aliases and pairs of strings. A
//! string is a u16 length that counts the closing NUL, then its bytes.

use super::RecognizeError;
use super::matrix::{Matrix, Values};
use crate::job::Job;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// The only version of the container that is read.
const VERSION: u32 = 6;
/// More variables than Whisper large has (about 1,300).
const MAX_VARIABLES: u32 = 4096;
/// More axes than any variable of a Whisper model has (3).
const MAX_RANK: u8 = 8;
/// Integer variables are only read up to this many values.
const MAX_SCALARS: usize = 64;

/// The named arrays of one file.
#[derive(Debug)]
pub(super) struct Container {
    variables: BTreeMap<String, Variable>,
}

#[derive(Debug)]
struct Variable {
    shape: Vec<usize>,
    values: Values,
}

impl Container {
    /// Reads the file, keeping f16 values as they are.
    ///
    /// # Errors
    /// When the file cannot be read, is not version 6 of a `WhisperSpec`, holds another data type
    /// than f16 or f32, ends early, or the job is cancelled.
    pub(super) fn read(path: &Path, job: &Job<'_>) -> Result<Self, RecognizeError> {
        let io = |source| RecognizeError::Io {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let mut bytes = Bytes {
            reader: BufReader::with_capacity(1 << 16, file),
            path,
            position: 0,
            length,
        };

        let version = bytes.u32("the version")?;
        if version != VERSION {
            return Err(bytes.malformed(format!("expected version {VERSION}, found {version}")));
        }
        let spec = bytes.string("the model's kind")?;
        if spec != "WhisperSpec" {
            return Err(bytes.malformed(format!("expected a WhisperSpec model, found {spec:?}")));
        }
        bytes.u32("the revision")?;
        let count = bytes.u32("the number of variables")?;
        if count > MAX_VARIABLES {
            return Err(bytes.malformed(format!(
                "claims {count} variables, at most {MAX_VARIABLES} are read"
            )));
        }
        let mut variables = BTreeMap::new();
        for _ in 0..count {
            let (name, variable) = bytes.variable()?;
            variables.insert(name, variable);
            job.report("Loading speech recognition", bytes.position, length)?;
        }
        // The aliases only say that the decoder's output matrix is its embedding, which it always is.
        Ok(Self { variables })
    }

    /// Whether there is a variable of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.variables.contains_key(name)
    }

    /// The length of each axis of a variable.
    ///
    /// # Errors
    /// When there is no variable of this name.
    pub(super) fn shape(&self, name: &str) -> Result<&[usize], RecognizeError> {
        self.variables
            .get(name)
            .map(|variable| variable.shape.as_slice())
            .ok_or_else(|| RecognizeError::Missing {
                name: name.to_owned(),
            })
    }

    /// The shape of a variable with two axes.
    ///
    /// # Errors
    /// When it is missing or has another number of axes.
    pub(super) fn plane(&self, name: &str) -> Result<[usize; 2], RecognizeError> {
        let shape = self.shape(name)?;
        shape.try_into().map_err(|_| RecognizeError::Shape {
            name: name.to_owned(),
            expected: "two axes".to_owned(),
            found: shape.to_vec(),
        })
    }

    /// Takes a variable as a matrix `[rows, cols]`, row-major; further axes are folded into `cols`.
    ///
    /// # Errors
    /// When it is missing or has another shape.
    pub(super) fn matrix(
        &mut self,
        name: &str,
        rows: usize,
        cols: usize,
    ) -> Result<Matrix, RecognizeError> {
        let Variable { shape, values } = self.take(name)?;
        let folded: usize = shape.iter().skip(1).product();
        if shape.len() < 2 || shape[0] != rows || folded != cols {
            return Err(RecognizeError::Shape {
                name: name.to_owned(),
                expected: format!("{:?}", [rows, cols]),
                found: shape,
            });
        }
        Ok(Matrix { rows, cols, values })
    }

    /// Takes a variable as a vector of `len` values.
    ///
    /// # Errors
    /// When it is missing or has another shape.
    pub(super) fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>, RecognizeError> {
        let Variable { shape, values } = self.take(name)?;
        if shape != [len] {
            return Err(RecognizeError::Shape {
                name: name.to_owned(),
                expected: format!("[{len}]"),
                found: shape,
            });
        }
        let mut wide = vec![0.0; len];
        values.widen(0..len, &mut wide);
        Ok(wide)
    }

    fn take(&mut self, name: &str) -> Result<Variable, RecognizeError> {
        self.variables
            .remove(name)
            .ok_or_else(|| RecognizeError::Missing {
                name: name.to_owned(),
            })
    }
}

/// The file, read front to back with its length known.
struct Bytes<'a> {
    reader: BufReader<File>,
    path: &'a Path,
    position: u64,
    length: u64,
}

impl Bytes<'_> {
    fn malformed(&self, why: String) -> RecognizeError {
        RecognizeError::Malformed {
            path: self.path.to_owned(),
            offset: self.position,
            why,
        }
    }

    fn fill(&mut self, into: &mut [u8], what: &str) -> Result<(), RecognizeError> {
        let wanted = into.len() as u64;
        if self.length - self.position < wanted {
            let left = self.length - self.position;
            return Err(self.malformed(format!("{what} needs {wanted} bytes, {left} are left")));
        }
        self.reader
            .read_exact(into)
            .map_err(|source| RecognizeError::Io {
                path: self.path.to_owned(),
                source,
            })?;
        self.position += wanted;
        Ok(())
    }

    fn u8(&mut self, what: &str) -> Result<u8, RecognizeError> {
        let mut byte = [0; 1];
        self.fill(&mut byte, what)?;
        Ok(byte[0])
    }

    fn u16(&mut self, what: &str) -> Result<u16, RecognizeError> {
        let mut bytes = [0; 2];
        self.fill(&mut bytes, what)?;
        Ok(u16::from_le_bytes(bytes))
    }

    fn u32(&mut self, what: &str) -> Result<u32, RecognizeError> {
        let mut bytes = [0; 4];
        self.fill(&mut bytes, what)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn string(&mut self, what: &str) -> Result<String, RecognizeError> {
        let length = self.u16(what)?;
        let mut bytes = vec![0; usize::from(length)];
        self.fill(&mut bytes, what)?;
        if bytes.pop() != Some(0) {
            return Err(self.malformed(format!("{what} does not end with a NUL")));
        }
        String::from_utf8(bytes).map_err(|_| self.malformed(format!("{what} is not UTF-8")))
    }

    fn variable(&mut self) -> Result<(String, Variable), RecognizeError> {
        let name = self.string("a variable's name")?;
        let rank = self.u8("a rank")?;
        if rank > MAX_RANK {
            return Err(self.malformed(format!(
                "{name} claims {rank} axes, at most {MAX_RANK} are read"
            )));
        }
        let mut shape = Vec::with_capacity(usize::from(rank));
        for _ in 0..rank {
            let axis = self.u32("a shape")?;
            shape.push(
                usize::try_from(axis)
                    .map_err(|_| self.malformed(format!("{name} has an axis of {axis}")))?,
            );
        }
        let kind = self.u8("a data type")?;
        let byte_count = u64::from(self.u32("a byte count")?);
        let kind = match kind {
            0 => DataType::F32,
            1 => DataType::I8,
            2 => DataType::I16,
            3 => DataType::I32,
            4 => DataType::F16,
            5 => {
                return Err(
                    self.malformed(format!("{name} is stored as bf16; f16 and f32 are read"))
                );
            }
            other => {
                return Err(self.malformed(format!("{name} has the unknown data type {other}")));
            }
        };
        let size = kind.size();
        let count = shape
            .iter()
            .try_fold(1_u64, |product, &axis| product.checked_mul(axis as u64));
        if count.and_then(|count| count.checked_mul(size)) != Some(byte_count) {
            return Err(self.malformed(format!(
                "{name} of shape {shape:?} has {byte_count} bytes, {size} bytes a value"
            )));
        }
        if self.length - self.position < byte_count {
            let left = self.length - self.position;
            return Err(self.malformed(format!("{name} needs {byte_count} bytes, {left} are left")));
        }
        let count = usize::try_from(byte_count / size)
            .map_err(|_| self.malformed(format!("{name} has too many values for this machine")))?;
        let values = self.values(&name, kind, count)?;
        Ok((name, Variable { shape, values }))
    }

    fn values(
        &mut self,
        name: &str,
        kind: DataType,
        count: usize,
    ) -> Result<Values, RecognizeError> {
        let values = match kind {
            DataType::F16 => {
                let mut half = vec![0_u16; count];
                self.fill(bytemuck::cast_slice_mut(&mut half), name)?;
                half.iter_mut().for_each(|bits| *bits = u16::from_le(*bits));
                Values::Half(half)
            }
            DataType::F32 => {
                let mut single = vec![0_u32; count];
                self.fill(bytemuck::cast_slice_mut(&mut single), name)?;
                Values::Single(
                    single
                        .into_iter()
                        .map(|bits| f32::from_bits(u32::from_le(bits)))
                        .collect(),
                )
            }
            DataType::I8 | DataType::I16 | DataType::I32 => {
                // The few scalars that describe the model; quantized weights are not supported.
                if count > MAX_SCALARS {
                    return Err(self.malformed(format!(
                        "{name} is stored as integers; f16 and f32 weights are read"
                    )));
                }
                let mut scalars = Vec::with_capacity(count);
                for _ in 0..count {
                    scalars.push(match kind {
                        DataType::I8 => f32::from(self.u8(name)?.cast_signed()),
                        DataType::I16 => f32::from(self.u16(name)?.cast_signed()),
                        DataType::I32 | DataType::F16 | DataType::F32 => {
                            self.u32(name)?.cast_signed() as f32
                        }
                    });
                }
                Values::Single(scalars)
            }
        };
        if values.all_finite() {
            Ok(values)
        } else {
            Err(self.malformed(format!("{name} holds a value that is not finite")))
        }
    }
}

/// How a variable's values are stored.
#[derive(Debug, Clone, Copy)]
enum DataType {
    F32,
    I8,
    I16,
    I32,
    F16,
}

impl DataType {
    /// Bytes for one value.
    fn size(self) -> u64 {
        match self {
            Self::F32 | Self::I32 => 4,
            Self::I8 => 1,
            Self::I16 | Self::F16 => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn string(text: &str) -> Vec<u8> {
        let mut bytes = u16::try_from(text.len() + 1)
            .unwrap()
            .to_le_bytes()
            .to_vec();
        bytes.extend(text.bytes());
        bytes.push(0);
        bytes
    }

    /// One f16 matrix [2, 2] with the values 1, -2, 0.5, 0.
    fn sample() -> Vec<u8> {
        let mut bytes = VERSION.to_le_bytes().to_vec();
        bytes.extend(string("WhisperSpec"));
        for number in [3_u32, 1] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(string("w"));
        bytes.push(2);
        for axis in [2_u32, 2] {
            bytes.extend(axis.to_le_bytes());
        }
        bytes.push(4);
        bytes.extend(8_u32.to_le_bytes());
        for bits in [0x3c00_u16, 0xc000, 0x3800, 0] {
            bytes.extend(bits.to_le_bytes());
        }
        bytes.extend(0_u32.to_le_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Container, RecognizeError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        Container::read(file.path(), &Job::silent())
    }

    #[test]
    fn reads_a_matrix_and_checks_its_shape() {
        let mut container = read(&sample()).unwrap();
        assert_eq!(container.shape("w").unwrap(), [2, 2]);
        let matrix = container.matrix("w", 2, 2).unwrap();
        let mut wide = [0.0; 4];
        matrix.values.widen(0..4, &mut wide);
        assert_eq!(wide, [1.0, -2.0, 0.5, 0.0]);
        assert!(matches!(
            container.matrix("w", 2, 2),
            Err(RecognizeError::Missing { .. })
        ));
        let mut container = read(&sample()).unwrap();
        assert!(matches!(
            container.matrix("w", 4, 1),
            Err(RecognizeError::Shape { .. })
        ));
    }

    #[test]
    fn every_truncation_is_refused_and_no_changed_byte_panics() {
        let good = sample();
        for length in 0..good.len() - 4 {
            assert!(
                read(&good[..length]).is_err(),
                "{length} bytes were accepted"
            );
        }
        for position in 0..good.len() {
            for value in [0, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[position] = value;
                // Some changes are valid files; the point is that none of them panics.
                drop(read(&bad));
            }
        }
    }

    #[test]
    fn an_absurd_size_is_refused_before_it_is_allocated() {
        let mut bytes = sample();
        let shape = bytes.len() - 4 - 8 - 5 - 8;
        bytes[shape..shape + 8].fill(0xff);
        let error = read(&bytes).unwrap_err().to_string();
        assert!(
            error.contains("w of shape [4294967295, 4294967295] has 8 bytes"),
            "{error}"
        );
    }
}

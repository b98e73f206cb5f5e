//! What a tune has measured, line by line on disk, so that a stopped one goes on where it was.

use super::TuneError;
use super::candidate::{Candidate, Candidates};
use crate::model::Tensor;
use crate::recipe::Setting;
use crate::saved_format::{Format, NewerFormat};
use crate::source_file;
use crate::whole_file;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// One tensor's measurements.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    #[serde(default)]
    format: Format<1>,
    name: String,
    probe: String,
    sensitivity: f64,
    /// Setting as `--set` writes it, bytes, error.
    options: Vec<(String, u64, f64)>,
}

impl Record {
    pub(super) fn of(candidates: &Candidates, probe: Setting) -> Self {
        let option = |c: &Candidate| (c.setting.to_string(), c.bytes, c.error);
        Self {
            format: Format,
            name: candidates.name.clone(),
            probe: probe.to_string(),
            sensitivity: candidates.sensitivity,
            options: candidates.options.iter().map(option).collect(),
        }
    }
}

/// The file and what it held when it was opened.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    records: Records,
}

type Records = HashMap<String, Record>;

/// The lines that were written to their end, and what they say; a damaged one says nothing.
fn parse<'t>(path: &Path, text: &'t str) -> Result<(&'t str, Records), NewerFormat> {
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    for line in whole.lines() {
        let name = path.to_string_lossy();
        Format::<1>::check_json("measurements", &name, line.as_bytes())?;
    }
    let lines = whole.lines().map(serde_json::from_str::<Record>);
    let records = lines.flatten().map(|r| (r.name.clone(), r)).collect();
    Ok((whole, records))
}

fn candidates_in(
    records: &Records,
    tensor: &Tensor,
    settings: &[Setting],
    probe: Setting,
) -> Option<Candidates> {
    let record = records.get(&tensor.name)?;
    let option = |setting: &Setting| {
        let name = setting.to_string();
        let (_, bytes, error) = record.options.iter().find(|(other, ..)| *other == name)?;
        Some(Candidate {
            setting: *setting,
            bytes: *bytes,
            error: *error,
        })
    };
    let options = settings.iter().map(option).collect::<Option<Vec<_>>>()?;
    (record.probe == probe.to_string()).then(|| Candidates {
        name: record.name.clone(),
        role: tensor.role,
        layer: tensor.layer,
        options,
        sensitivity: record.sensitivity,
    })
}

/// What the file at `path` has of all these tensors; nothing when it is not there, lacks one, or a newer
/// Whittle wrote it. Writes nothing.
pub(super) fn read(
    path: &Path,
    tensors: &[&Tensor],
    settings: &[Setting],
    probe: Setting,
) -> Option<Vec<Candidates>> {
    let text = std::fs::read_to_string(path).ok()?;
    let (_, records) = parse(path, &text).ok()?;
    let of = |tensor: &&Tensor| candidates_in(&records, tensor, settings, probe);
    tensors.iter().map(of).collect()
}

impl Journal {
    /// Opens or makes the file at `path`. A last line that was not written to its end is dropped; a file of
    /// a newer Whittle is refused and left as it is.
    pub(super) fn open(path: &Path) -> Result<Self, TuneError> {
        let failed = |source| TuneError::Journal {
            path: path.to_owned(),
            source,
        };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let mut file = whole_file::growing(path).map_err(failed)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        let (whole, records) = parse(path, &text)?;
        file.set_len(whole.len() as u64).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            records,
        })
    }

    /// What was measured of a tensor, if it was in all of these settings.
    pub(super) fn candidates(
        &self,
        tensor: &Tensor,
        settings: &[Setting],
        probe: Setting,
    ) -> Option<Candidates> {
        candidates_in(&self.records, tensor, settings, probe)
    }

    /// Adds a line, unless a file that it was measured on changed meanwhile.
    pub(super) fn keep(&mut self, record: &Record) -> Result<(), TuneError> {
        let failed = |source| TuneError::Journal {
            path: self.path.clone(),
            source,
        };
        let line = serde_json::to_string(record).map_err(|e| failed(e.into()))?;
        source_file::unchanged()
            .map_err(io::Error::from)
            .and_then(|()| self.file.write_all(format!("{line}\n").as_bytes()))
            .map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = include_str!("../../tests/old-files/measurements.jsonl");

    #[test]
    fn measurements_of_before_are_read_and_those_of_a_newer_whittle_refused() {
        let path = Path::new("tune-x.jsonl");
        let (whole, records) = parse(path, OLD).unwrap();
        assert_eq!((whole, records.len()), (OLD, 1));
        assert_eq!(records["blk.0.ffn_down.weight"].options.len(), 2);
        // What is damaged is measured again, what was half written is cut off.
        let torn = format!("{OLD}{{}}\n{{\"name\"");
        let (whole, records) = parse(path, &torn).unwrap();
        assert_eq!((whole.len(), records.len()), (OLD.len() + 3, 1));
        let newer = OLD.replacen('{', "{\"later\":1,\"format\":9,", 1);
        assert_eq!(
            parse(path, &newer).unwrap_err().to_string(),
            "measurements tune-x.jsonl: expected format 1 or older, found format 9: a newer Whittle wrote it"
        );
    }
}

//! What a tune has measured, line by line on disk, so that a stopped one goes on where it was.

use super::TuneError;
use super::candidate::{Candidate, Candidates};
use crate::model::Tensor;
use crate::recipe::Setting;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// One tensor's measurements.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
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

/// The lines that were written to their end, and what they say.
fn parse(text: &str) -> (&str, Records) {
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    let lines = whole.lines().map(serde_json::from_str::<Record>);
    let records = lines.flatten().map(|r| (r.name.clone(), r)).collect();
    (whole, records)
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

/// What the file at `path` has of all these tensors; nothing when it is not there or lacks one. Writes
/// nothing.
pub(super) fn read(
    path: &Path,
    tensors: &[&Tensor],
    settings: &[Setting],
    probe: Setting,
) -> Option<Vec<Candidates>> {
    let text = std::fs::read_to_string(path).ok()?;
    let (_, records) = parse(&text);
    let of = |tensor: &&Tensor| candidates_in(&records, tensor, settings, probe);
    tensors.iter().map(of).collect()
}

impl Journal {
    /// Opens or makes the file at `path`. A last line that was not written to its end is dropped.
    pub(super) fn open(path: &Path) -> Result<Self, TuneError> {
        let failed = |source| TuneError::Journal {
            path: path.to_owned(),
            source,
        };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(failed(error)),
        };
        let (whole, records) = parse(&text);
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(failed)?;
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

    /// Adds a line.
    pub(super) fn keep(&mut self, record: &Record) -> Result<(), TuneError> {
        let failed = |source| TuneError::Journal {
            path: self.path.clone(),
            source,
        };
        let line = serde_json::to_string(record).map_err(|e| failed(e.into()))?;
        writeln!(self.file, "{line}").map_err(failed)
    }
}

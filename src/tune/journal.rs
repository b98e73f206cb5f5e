//! What a tune has measured, line by line on disk, so that a stopped one goes on where it was.

use super::TuneError;
use super::candidates::{Candidate, Candidates};
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
    records: HashMap<String, Record>,
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
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let lines = whole.lines().map(serde_json::from_str::<Record>);
        let records = lines.flatten().map(|r| (r.name.clone(), r)).collect();
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

    /// What was measured of a tensor, if it was in just these settings.
    pub(super) fn candidates(
        &self,
        tensor: &Tensor,
        settings: &[Setting],
        probe: Setting,
    ) -> Option<Candidates> {
        let record = self.records.get(&tensor.name)?;
        let is_same = record.probe == probe.to_string() && record.options.len() == settings.len();
        let options = settings
            .iter()
            .zip(&record.options)
            .map(|(setting, (name, bytes, error))| {
                (*name == setting.to_string()).then_some(Candidate {
                    setting: *setting,
                    bytes: *bytes,
                    error: *error,
                })
            })
            .collect::<Option<Vec<_>>>()?;
        is_same.then(|| Candidates {
            name: record.name.clone(),
            role: tensor.role,
            layer: tensor.layer,
            options,
            sensitivity: record.sensitivity,
        })
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

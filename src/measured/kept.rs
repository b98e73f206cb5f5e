//! The reports that this account keeps.

use super::{BoardReport, Clock};
use crate::whole_file;
use directories::ProjectDirs;
use std::path::{Path, PathBuf};

/// Reports for estimates: of each chip the newest measured one, or where there is none the newest emulated one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reports {
    reports: Vec<BoardReport>,
}

impl Reports {
    /// Where this account keeps them; nothing where it has no home.
    #[must_use]
    pub fn folder() -> Option<PathBuf> {
        let folders = ProjectDirs::from("", "", "whittle")?;
        Some(folders.data_local_dir().join("reports"))
    }

    /// Those that this account keeps.
    #[must_use]
    pub fn of_this_account() -> Self {
        Self::folder().map_or_else(Self::default, |folder| Self::in_folder(&folder))
    }

    /// Those in a folder. A file that is no report of answers as this program gives is passed over: it is of another
    /// version.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        let mut reports = Self::default();
        let all = paths
            .iter()
            .filter(|path| path.extension().is_some_and(|e| e == "json"));
        for report in all.filter_map(|path| BoardReport::load(path).ok()) {
            reports.add(report);
        }
        reports
    }

    /// Takes one in, where it may feed estimates.
    pub fn add(&mut self, report: BoardReport) {
        if !report.is_verified {
            return;
        }
        let rank = |report: &BoardReport| (report.clock == Clock::Board, report.day.clone());
        match self.reports.iter_mut().find(|r| r.chip == report.chip) {
            Some(known) if rank(known) <= rank(&report) => *known = report,
            Some(_) => {}
            None => self.reports.push(report),
        }
    }

    /// Takes one in whatever there is of its chip.
    pub fn put(&mut self, report: BoardReport) {
        self.reports.retain(|known| known.chip != report.chip);
        self.reports.push(report);
    }

    /// That of a chip.
    #[must_use]
    pub fn of(&self, chip: &str) -> Option<&BoardReport> {
        self.reports.iter().find(|report| report.chip == chip)
    }

    /// Keeps a report in a folder, in place of an earlier one of the same chip and kind.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(folder: &Path, report: &BoardReport) -> std::io::Result<PathBuf> {
        let kind = match report.clock {
            Clock::Board => "measured",
            Clock::Emulated => "emulated",
        };
        let chip: String = report
            .chip
            .chars()
            .filter(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_'))
            .collect();
        let path = folder.join(format!("{chip}-{kind}.json"));
        std::fs::create_dir_all(folder)?;
        whole_file::write(&path, report.to_json().as_bytes())?;
        Ok(path)
    }
}

impl BoardReport {
    /// The file.
    #[must_use]
    pub fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(self);
        text.expect("numbers, texts and lists have a form in JSON") + "\n"
    }
}

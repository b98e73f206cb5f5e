//! What the window knows: the project, what follows from it, running work, and what is looked at.

use super::answerer::Answerer;
use super::candidate::Candidate;
use super::derived::Derived;
use super::forms::{RewriteForm, TuneForm, Verify};
use super::jobs::{JobKind, Jobs};
use super::loaded::Loaded;
#[cfg(feature = "flash")]
use super::measured::ShownPlan;
use super::measured::TurnTokens;
use super::opened::{Leaving, MissingModel};
use super::path_field::PathField;
use super::saved::Saved;
use super::transcript::{Ask, Speaker, Utterance};
use crate::catalog::{Cache, Catalog, Entry, Kind};
#[cfg(feature = "flash")]
use crate::link::{Deployed, Port};
#[cfg(feature = "flash")]
use crate::measured::BoardReport;
use crate::project::Project;
use crate::project::autosave::Left;
use crate::recipe::Recipe;
use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

/// Everything that panels show and edit.
#[derive(Debug)]
pub struct State {
    /// What is saved and undone; panels edit it in place.
    pub project: Project,
    /// What it is on the disk.
    pub saved: Saved,
    /// What follows from it.
    pub derived: Derived,
    /// Work that is running.
    pub jobs: Jobs,
    /// What is looked at; neither saved nor undone.
    pub view: View,
}

/// How a spoken conversation stands.
#[cfg(feature = "voice")]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Talking {
    /// Who is doing what.
    pub state: crate::voice::VoiceState,
    /// Loudest sample of late, 0 to 1.
    pub input_level: f32,
}

/// How much a notice matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Something went well or needs a hint.
    Info,
    /// Something failed.
    Error,
}

/// A sentence for the person; stays until it is dismissed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How much it matters.
    pub severity: Severity,
    /// The sentence.
    pub text: String,
    /// The page that it speaks of.
    pub page: Option<PathBuf>,
}

/// The dialog that is open over the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Popup {
    /// None.
    Closed,
    /// Models to open or fetch.
    Open,
    /// What a recipe is to keep to.
    Tune,
    /// Whether rules of the old model go onto the new one.
    NumberedRules,
    /// Where the model of a project is.
    MissingModel,
    /// Where to write the packed model or the project.
    Export,
    /// Where to write the project.
    Save,
    /// What becomes of unsaved changes.
    Leave,
    /// Whether to replace a file.
    Replace,
    /// Whether to restore what a window has left behind.
    Restore,
    /// In which form to write the open model.
    Rewrite,
    /// Both candidates side by side.
    Compare,
    /// What to hold limits, grids and packed files against.
    Verify,
    /// Which board to write.
    #[cfg(feature = "flash")]
    Flash,
}

impl Popup {
    /// Whether it asks before something is lost.
    #[must_use]
    pub const fn is_question(self) -> bool {
        match self {
            Self::NumberedRules
            | Self::MissingModel
            | Self::Save
            | Self::Leave
            | Self::Replace
            | Self::Restore => true,
            Self::Closed
            | Self::Open
            | Self::Tune
            | Self::Export
            | Self::Rewrite
            | Self::Compare
            | Self::Verify => false,
            #[cfg(feature = "flash")]
            Self::Flash => false,
        }
    }
}

/// What is asked before a file is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacing {
    /// What is there.
    pub found: String,
    /// The dialog to which Cancel leads back.
    pub back: Popup,
}

/// A model of the catalog and whether it is here.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its name in the catalog.
    pub name: String,
    /// For people.
    pub title: String,
    /// Length of its files.
    pub bytes: u64,
    /// Whether it can be opened now.
    pub installed: bool,
}

/// What is looked at.
#[derive(Debug)]
pub struct View {
    /// The candidate that is tuned and that answers.
    pub active: Candidate,
    /// Layers whose matrices are shown.
    pub open_layers: BTreeSet<u32>,
    /// The dialog over the window.
    pub popup: Popup,
    /// Path field of the open dialog.
    pub open_path: PathField,
    /// The model that is opened once it is said what becomes of the rules of the old one.
    pub arriving: Option<Arc<Loaded>>,
    /// A project that waits for its model.
    pub missing: Option<MissingModel>,
    /// Path field for that model.
    pub model_path: PathField,
    /// Where to write the packed model.
    pub export_path: PathField,
    /// Where to export a GGUF file.
    pub gguf_path: PathField,
    /// Whether a software bill goes beside an exported file.
    pub is_billed: bool,
    /// Where to write what a board that runs Linux needs.
    #[cfg(feature = "flash")]
    pub bundle_path: PathField,
    /// Where to write the report.
    pub report_path: PathField,
    /// Where to write the project.
    pub project_path: PathField,
    /// What is asked before a file is replaced.
    pub replacing: Option<Replacing>,
    /// Where this window goes, once it is known what becomes of unsaved changes.
    pub leaving: Option<Leaving>,
    /// What windows have left behind.
    pub left: Vec<Arc<Left>>,
    /// Fields of the Tune dialog.
    pub tune: TuneForm,
    /// Fields of the Rewrite dialog.
    pub rewrite: RewriteForm,
    /// Fields of the Verify dialog, and what came of them.
    pub verify: Verify,
    /// Who gets the recipe of the tune that runs.
    pub tuned: Candidate,
    /// Serial port, or one of an emulated board.
    pub port: String,
    /// Ports that were found.
    #[cfg(feature = "flash")]
    pub ports: Vec<Port>,
    /// What the last flashing did.
    #[cfg(feature = "flash")]
    pub flashed: Option<Deployed>,
    /// What runs on the board, and what flashing it will change.
    #[cfg(feature = "flash")]
    pub flash_plan: ShownPlan,
    /// Whether the old flash is kept in a file first.
    #[cfg(feature = "flash")]
    pub is_backed_up: bool,
    /// Whether the project's board was chosen by hand: else it is the one whose chip answers.
    #[cfg(feature = "flash")]
    pub is_board_chosen: bool,
    /// Whether the board on the port answers what is asked, and not the active candidate.
    #[cfg(feature = "flash")]
    pub is_board_asked: bool,
    /// What the board has measured of itself.
    #[cfg(feature = "flash")]
    pub board_report: Option<BoardReport>,
    /// Language models of the catalog.
    pub listed: Vec<Listed>,
    /// Models that must be fetched before the window can talk.
    #[cfg(feature = "voice")]
    pub missing_voice: Vec<Listed>,
    /// Recipes that come with Whittle.
    pub presets: Vec<Recipe>,
    /// What is typed and not yet asked.
    pub prompt: String,
    /// The conversation, oldest first.
    pub transcript: Vec<Utterance>,
    /// Utterances that wait for their answer.
    pub asks: VecDeque<Ask>,
    /// The spoken conversation, while there is one.
    #[cfg(feature = "voice")]
    pub talking: Option<Talking>,
    /// Sentences to be read and dismissed.
    pub notices: Vec<Notice>,
    /// Matrices being quantized in the background.
    pub pending: usize,
    /// Most of them since there were none.
    pub pending_peak: usize,
    /// Whether undo and redo have something to do.
    pub can_undo: bool,
    /// See `can_undo`.
    pub can_redo: bool,
    /// SIMD level and threads of the engine, for people.
    pub processor: String,
}

impl State {
    pub(super) fn new(project: Project, processor: String) -> Self {
        Self {
            saved: Saved::new(project.clone()),
            project,
            derived: Derived::default(),
            jobs: Jobs::default(),
            view: View {
                active: Candidate::A,
                open_layers: BTreeSet::from([0]),
                popup: Popup::Closed,
                open_path: PathField::default(),
                arriving: None,
                missing: None,
                model_path: PathField::default(),
                export_path: PathField::default(),
                gguf_path: PathField::default(),
                is_billed: false,
                #[cfg(feature = "flash")]
                bundle_path: PathField::default(),
                report_path: PathField::default(),
                project_path: PathField::default(),
                replacing: None,
                leaving: None,
                left: Vec::new(),
                tune: TuneForm::default(),
                rewrite: RewriteForm::default(),
                verify: Verify::default(),
                tuned: Candidate::A,
                port: String::new(),
                #[cfg(feature = "flash")]
                ports: Vec::new(),
                #[cfg(feature = "flash")]
                flashed: None,
                #[cfg(feature = "flash")]
                flash_plan: ShownPlan::default(),
                #[cfg(feature = "flash")]
                is_backed_up: false,
                #[cfg(feature = "flash")]
                is_board_chosen: false,
                #[cfg(feature = "flash")]
                is_board_asked: false,
                #[cfg(feature = "flash")]
                board_report: None,
                listed: listed(),
                #[cfg(feature = "voice")]
                missing_voice: missing_voice(),
                presets: Recipe::presets(),
                prompt: String::new(),
                transcript: Vec::new(),
                asks: VecDeque::new(),
                #[cfg(feature = "voice")]
                talking: None,
                notices: Vec::new(),
                pending: 0,
                pending_peak: 0,
                can_undo: false,
                can_redo: false,
                processor,
            },
        }
    }

    /// The model that is open.
    #[must_use]
    pub fn loaded(&self) -> Option<&Arc<Loaded>> {
        self.derived.loaded.as_ref()
    }

    /// Who answers what is asked.
    #[must_use]
    pub const fn answerer(&self) -> Answerer {
        #[cfg(feature = "flash")]
        if self.view.is_board_asked {
            return Answerer::Board;
        }
        Answerer::Candidate(self.view.active)
    }

    /// Who answers a question that goes to all.
    #[must_use]
    pub fn answerers(&self) -> Vec<Answerer> {
        let both = Candidate::ALL.map(Answerer::Candidate);
        match self.answerer() {
            Answerer::Candidate(_) => both.into(),
            #[cfg(feature = "flash")]
            Answerer::Board => [&both[..], &[Answerer::Board]].concat(),
        }
    }

    /// The last thing that the person said.
    #[must_use]
    pub fn last_said(&self) -> Option<&str> {
        let said = |u: &&Utterance| u.speaker == Speaker::Person;
        self.view
            .transcript
            .iter()
            .rev()
            .find(said)
            .map(|u| u.text.as_str())
    }

    /// The tokens of the last turn that is complete.
    #[must_use]
    pub fn last_turn(&self) -> Option<TurnTokens> {
        let facts = self
            .view
            .transcript
            .iter()
            .rev()
            .find_map(|u| u.facts.as_ref())?;
        Some(TurnTokens {
            prompt: u32::try_from(facts.prompt_tokens).unwrap_or(u32::MAX),
            unspoken: u32::try_from(facts.unspoken_tokens).unwrap_or(u32::MAX),
        })
    }

    /// Whether somebody answers.
    #[must_use]
    pub fn is_answering(&self) -> bool {
        #[cfg(feature = "flash")]
        if self.jobs.is_running(JobKind::BoardAnswer) {
            return true;
        }
        self.jobs.is_running(JobKind::Answer)
    }

    /// Whether nothing runs and nothing waits to be run.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.view.asks.is_empty() && self.view.pending == 0
    }

    pub(super) fn fail(&mut self, text: impl Into<String>) {
        self.notice(Severity::Error, text.into());
    }

    pub(super) fn inform(&mut self, text: impl Into<String>) {
        self.notice(Severity::Info, text.into());
    }

    /// A page was written, which a click opens.
    pub(super) fn inform_of_page(&mut self, text: String, page: PathBuf) {
        self.inform(text);
        if let Some(notice) = self.view.notices.last_mut() {
            notice.page = Some(page);
        }
    }

    fn notice(&mut self, severity: Severity, text: String) {
        let page = None;
        let notice = Notice {
            severity,
            text,
            page,
        };
        // The same failure twice is one thing to read.
        let is_same = |other: &Notice| other.severity == severity && other.text == notice.text;
        self.view.notices.retain(|other| !is_same(other));
        self.view.notices.push(notice);
    }
}

#[cfg(feature = "flash")]
impl View {
    /// Takes over the ports that there are. Unless one was chosen it is the first on USB, where boards are, or else the
    /// emulated board.
    pub(super) fn list_ports(&mut self, ports: Vec<Port>) {
        if self.port.is_empty() {
            let on_usb = ports.iter().find(|port| port.usb_id.is_some());
            let first = on_usb.map(|port| port.name.clone());
            self.port = first.unwrap_or_else(|| crate::link::EMULATED.into());
        }
        self.ports = ports;
    }
}

/// The language models of the catalog; where this account has no cache, only what is built in is here.
pub(super) fn listed() -> Vec<Listed> {
    let cache = Cache::from_environment().ok();
    let language = |entry: &&Entry| entry.kind == Kind::Language;
    Catalog::builtin()
        .entries
        .iter()
        .filter(language)
        .map(|entry| Listed {
            installed: entry.is_built_in()
                || cache.as_ref().is_some_and(|c| c.installed(entry).is_some()),
            ..Listed::missing(entry)
        })
        .collect()
}

/// What voice lacks.
#[cfg(feature = "voice")]
pub(super) fn missing_voice() -> Vec<Listed> {
    let cache = Cache::from_environment().ok();
    let missing = crate::speech::missing_models(cache.as_ref());
    missing.iter().map(Listed::missing).collect()
}

impl Listed {
    fn missing(entry: &Entry) -> Self {
        Self {
            name: entry.name.clone(),
            title: entry.title.clone(),
            bytes: entry.bytes(),
            installed: false,
        }
    }
}

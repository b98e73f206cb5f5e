//! Where a board is: a serial port, or a board made of software.

use super::{
    Client, FlashError, FlashOptions, FlashPlan, Flashed, Greeting, Image, Reset, TalkError,
};
use crate::job::Job;
use crate::measured::Clock;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;
#[cfg(unix)]
use {super::FakeBoard, super::fake_board::Start, crate::whole_file, std::path::PathBuf};

/// What the port of the emulated board is called.
pub const EMULATED: &str = "sim:esp32-c3";
/// What the names of emulated boards begin with.
const EMULATED_PREFIX: &str = "sim:";
/// The same without a memory: each is a new one, with as much flash as it is asked for.
pub const FAKE: &str = "fake";

/// How long a board that may run anything is asked who it is: one that opening the port has reset checks its model first.
const RUNNING_PATIENCE: Duration = Duration::from_secs(2);

/// A board that can be written and talked to.
#[derive(Debug)]
pub enum Device {
    /// On a serial port of this machine.
    Serial(String),
    /// An ESP32-C3 made of software.
    #[cfg(unix)]
    Emulated(Box<Emulated>),
}

/// An emulated board, and where its flash is kept.
#[cfg(unix)]
#[derive(Debug)]
pub struct Emulated {
    board: FakeBoard,
    /// What its port is called.
    name: &'static str,
    /// None for one that is new each time, and where this account keeps nothing.
    file: Option<PathBuf>,
}

/// Flash of the emulated board: that of an ESP32-C3-DevKitM-1.
pub const EMULATED_FLASH_BYTES: usize = 4 << 20;

impl Device {
    /// The board behind the name of a port: [`EMULATED`], whose flash is kept in `folder` from one run to the next,
    /// [`FAKE`], which has `flash_bytes` and forgets them, or a port of this machine.
    ///
    /// # Errors
    /// When this system cannot run an emulated board.
    pub fn open(port: &str, folder: Option<&Path>, flash_bytes: usize) -> Result<Self, FlashError> {
        if port != EMULATED && port != FAKE {
            if port.starts_with(EMULATED_PREFIX) {
                return Err(FlashError::UnknownEmulated(port.to_owned()));
            }
            return Ok(Self::Serial(port.to_owned()));
        }
        #[cfg(unix)]
        {
            let folder = folder.filter(|_| port == EMULATED);
            let file = folder.map(|folder| folder.join("esp32-c3.flash"));
            let bytes = if port == EMULATED {
                EMULATED_FLASH_BYTES
            } else {
                flash_bytes
            };
            let kept = file.as_ref().and_then(|file| std::fs::read(file).ok());
            let kept = kept.filter(|flash| flash.len() == bytes);
            let flash = kept.unwrap_or_else(|| vec![0xFF; bytes]);
            let board = FakeBoard::holding(flash).map_err(FlashError::Emulated)?;
            let name = if port == EMULATED { EMULATED } else { FAKE };
            Ok(Self::Emulated(Box::new(Emulated { board, name, file })))
        }
        #[cfg(not(unix))]
        {
            let _nowhere = (folder, flash_bytes);
            Err(FlashError::Emulated(std::io::ErrorKind::Unsupported.into()))
        }
    }

    /// The port to talk to.
    #[must_use]
    pub fn port(&self) -> &str {
        match self {
            Self::Serial(port) => port,
            #[cfg(unix)]
            Self::Emulated(emulated) => emulated.board.port(),
        }
    }

    /// Opens the line to the board.
    ///
    /// # Errors
    /// As [`Client::open`].
    pub fn client(&self) -> Result<Client, TalkError> {
        self.client_on(self.port())
    }

    /// The same on another port, where the board has come back on that.
    pub(super) fn client_on(&self, port: &str) -> Result<Client, TalkError> {
        let client = Client::open(port, self.reset())?;
        let mut client = match self {
            Self::Serial(_) => client,
            #[cfg(unix)]
            Self::Emulated(emulated) => client.called(emulated.name),
        };
        client.clock = match self {
            Self::Serial(_) => Clock::Board,
            #[cfg(unix)]
            Self::Emulated(_) => Clock::Emulated,
        };
        Ok(client)
    }

    /// How this board gets into its loader and back.
    #[must_use]
    pub const fn reset(&self) -> Reset {
        match self {
            Self::Serial(_) => Reset::Board,
            #[cfg(unix)]
            Self::Emulated(_) => Reset::None,
        }
    }

    /// As [`super::chip`].
    ///
    /// # Errors
    /// As [`super::chip`].
    pub fn chip(&self, options: &FlashOptions, job: &Job<'_>) -> Result<String, FlashError> {
        match self {
            Self::Serial(port) => super::chip(port, options, job),
            #[cfg(unix)]
            Self::Emulated(emulated) => {
                let options = FlashOptions {
                    reset: Reset::None,
                    ..*options
                };
                emulated.board.reset(Start::Loader);
                let chip = super::chip(emulated.board.port(), &options, job);
                emulated.board.reset(Start::Program);
                chip
            }
        }
    }

    /// As [`super::flash`]; then the board runs what was written.
    ///
    /// # Errors
    /// As [`super::flash`].
    pub fn flash(
        &self,
        image: &Image,
        options: &FlashOptions,
        show: &mut dyn FnMut(&FlashPlan) -> ControlFlow<()>,
        job: &Job<'_>,
    ) -> Result<Option<Flashed>, FlashError> {
        match self {
            Self::Serial(port) => super::flash(port, image, options, show, job),
            #[cfg(unix)]
            Self::Emulated(emulated) => {
                let options = FlashOptions {
                    reset: Reset::None,
                    ..*options
                };
                emulated.board.reset(Start::Loader);
                let flashed = super::flash(emulated.board.port(), image, &options, show, job);
                emulated.board.reset(Start::Program);
                // What was written in part is kept as well, as by a chip.
                let kept = emulated.keep();
                let flashed = flashed?;
                kept?;
                Ok(flashed)
            }
        }
    }

    /// As [`super::backup`]; then the board runs what it ran.
    ///
    /// # Errors
    /// As [`super::backup`].
    pub fn backup(
        &self,
        image: &Image,
        options: &FlashOptions,
        path: &Path,
        job: &Job<'_>,
    ) -> Result<u64, FlashError> {
        match self {
            Self::Serial(port) => super::backup(port, image, options, path, job),
            #[cfg(unix)]
            Self::Emulated(emulated) => {
                let options = FlashOptions {
                    reset: Reset::None,
                    ..*options
                };
                emulated.board.reset(Start::Loader);
                let bytes = super::backup(emulated.board.port(), image, &options, path, job);
                emulated.board.reset(Start::Program);
                bytes
            }
        }
    }

    /// Keeps the flash of an emulated board for the next run, as a chip's is kept.
    ///
    /// # Errors
    /// [`FlashError::NotKept`].
    pub(super) fn keep(&self) -> Result<(), FlashError> {
        match self {
            Self::Serial(_) => Ok(()),
            #[cfg(unix)]
            Self::Emulated(emulated) => emulated.keep(),
        }
    }

    /// Who is on the board now, where that is Whittle's firmware: asked for a moment.
    #[must_use]
    pub fn greeting(&self, job: &Job<'_>) -> Option<Greeting> {
        self.client().ok()?.hello(RUNNING_PATIENCE, job).ok()
    }
}

#[cfg(unix)]
impl Emulated {
    /// Keeps the flash for the next run.
    fn keep(&self) -> Result<(), FlashError> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        file.parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| whole_file::write(file, &self.board.flash()))
            .map_err(|source| FlashError::NotKept {
                path: file.clone(),
                source,
            })
    }
}

//! Boards: chip, clock, memories and their bandwidths. Each number cites its source, or is unknown.
//!
//! A [`Board`] is data: thirteen are built in ([`Board::presets`]), others are TOML files of the same
//! form ([`Board::load`]). A number that nobody measured or published is left out, never guessed.

use crate::measured::{BoardReport, Reports};
use crate::renamed::{Named, today};
use crate::saved_format::{Format, NewerFormat};
use crate::text_file;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// How much a number may be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// Someone ran it and reported the number.
    Measured,
    /// A maker's page or a board's documentation says so.
    Published,
    /// Follows from other numbers by arithmetic that the source spells out.
    Computed,
    /// Recalled, or carried over from a similar part: check it before relying on it.
    Unconfirmed,
}

/// A number with its source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fact<T> {
    /// The number, in the unit of the field's name.
    pub value: T,
    /// Lowest value that a source reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<T>,
    /// Highest value that a source reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<T>,
    /// What kind of source it is.
    pub evidence: Evidence,
    /// Where the number comes from, for people.
    pub source: String,
}

/// Instruction set of the cores, as the names of Rust's bare-metal targets begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isa {
    /// RV32 with multiplication and compressed instructions.
    Riscv32imc,
    /// The same with atomics.
    Riscv32imac,
    /// The same with single-precision floats.
    Riscv32imafc,
    /// Espressif's Xtensa cores.
    Xtensa,
    /// Cortex-M4F and Cortex-M7.
    Thumbv7em,
    /// Cortex-M33, M55 and M85.
    Thumbv8m,
    /// 64-bit Arm with NEON, under Linux.
    Aarch64,
}

/// How an image gets onto the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FlashMethod {
    /// Espressif's ROM loader over a serial port: Whittle writes the board itself.
    EspressifSerial,
    /// A J-Link probe: Whittle exports a file for it.
    JLink,
    /// An ST-LINK probe: Whittle exports a file for it.
    StLink,
    /// A drive that takes UF2 files: Whittle exports a file for it.
    Uf2,
    /// It runs Linux: Whittle exports a program and the model, which are copied to it.
    Linux,
}

/// One memory of a board.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Size.
    pub bytes: Fact<u64>,
    /// Reading rate of the bare bus: width times clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_bytes_per_second: Option<Fact<f64>>,
    /// Reading rate that a program saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_bytes_per_second: Option<Fact<f64>>,
}

/// A board that a model may run on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// The form of the file; not written, so that what was computed for a board stays its own.
    #[serde(default, skip_serializing)]
    pub format: Format<1>,
    /// Short name for the command line: lower-case letters, digits and hyphens.
    pub id: String,
    /// Name on the box.
    pub name: String,
    /// Who makes the chip.
    pub vendor: String,
    /// The chip, as flashing tools call it: `esp32c3`.
    pub chip: String,
    /// The cores, for people.
    pub core: String,
    /// Their instruction set.
    pub isa: Isa,
    /// How an image gets onto it.
    pub flash_method: FlashMethod,
    /// Highest clock of the main cores.
    pub clock_hz: Fact<u64>,
    /// Main cores; low-power companions are not counted.
    pub cores: Fact<u64>,
    /// On-chip RAM, tightly coupled memories included.
    pub sram_bytes: Fact<u64>,
    /// 8-bit multiply-accumulates that one core could start in a cycle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nominal_macs_per_cycle: Option<Fact<f64>>,
    /// 8-bit multiply-accumulates a cycle of a whole network, reads of on-chip weights included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_macs_per_cycle: Option<Fact<f64>>,
    /// Power while computing, radio off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_power_watts: Option<Fact<f64>>,
    /// Flash or MRAM on the chip, read in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub internal_flash: Option<Memory>,
    /// Flash behind a serial bus, mapped and read in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial_flash: Option<Memory>,
    /// RAM outside the chip's own: pseudo-static RAM or SDRAM. Where Linux runs, the model is mapped into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub psram: Option<Memory>,
    /// What a board of this kind has measured of itself, where one has sent a report.
    #[serde(skip)]
    pub measured: Option<Arc<BoardReport>>,
}

/// Why a board file was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BoardError {
    /// It is of a newer Whittle.
    #[error(transparent)]
    Newer(#[from] NewerFormat),
    /// The file could not be read.
    #[error("cannot read the board file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a board in TOML.
    #[error("{origin} is not a board file")]
    Parse {
        /// The file.
        origin: String,
        /// What the parser met, with line and column.
        source: Box<toml::de::Error>,
    },
    /// Neither a built-in board nor a board file.
    #[error("no board \"{name}\"; there are {known}, or give a .toml file")]
    Unknown {
        /// What was asked for.
        name: String,
        /// Ids of the built-in ones.
        known: String,
    },
    /// No built-in board has the chip that answers.
    #[error("no built-in board has the chip {chip}")]
    NoneWithChip {
        /// The chip.
        chip: String,
    },
    /// Which board it is cannot be told from its chip.
    #[error("{chip} is the chip of several boards: {boards}")]
    SeveralWithChip {
        /// The chip.
        chip: String,
        /// Their ids.
        boards: String,
    },
    /// A field holds a value that no board has.
    #[error("{origin}: {field} {problem}")]
    Value {
        /// The file.
        origin: String,
        /// The field.
        field: &'static str,
        /// Expected and found.
        problem: String,
    },
}

/// Largest number that a board may state in any unit: keeps sums and products of sizes inside `u64`.
const MAX_NUMBER: f64 = 1e15;

const PRESETS: [&str; 13] = [
    include_str!("../presets/boards/esp32-c3.toml"),
    include_str!("../presets/boards/esp32-c6.toml"),
    include_str!("../presets/boards/esp32-s3-n16r8.toml"),
    include_str!("../presets/boards/esp32-s3-n32r8v.toml"),
    include_str!("../presets/boards/esp32-p4.toml"),
    include_str!("../presets/boards/apollo4-plus.toml"),
    include_str!("../presets/boards/apollo510.toml"),
    include_str!("../presets/boards/ek-ra6m5.toml"),
    include_str!("../presets/boards/ek-ra8m1.toml"),
    include_str!("../presets/boards/ek-ra8d1.toml"),
    include_str!("../presets/boards/nucleo-h7a3.toml"),
    include_str!("../presets/boards/pico-plus-2.toml"),
    include_str!("../presets/boards/raspberry-pi-zero-2w.toml"),
];

impl Board {
    /// The built-in boards.
    #[must_use]
    pub fn presets() -> &'static [Self] {
        static BOARDS: OnceLock<Vec<Board>> = OnceLock::new();
        BOARDS.get_or_init(|| {
            PRESETS
                .iter()
                .map(|text| {
                    Self::parse(text, "built-in board").expect("a test parses every built-in board")
                })
                .collect()
        })
    }

    /// The built-in board with this id.
    #[must_use]
    pub fn find(id: &str) -> Option<&'static Self> {
        let id = today(Named::Board, id);
        Self::presets().iter().find(|board| board.id == id)
    }

    /// The built-in board with this chip.
    ///
    /// # Errors
    /// When none has it, or several have.
    pub fn with_chip(chip: &str) -> Result<&'static Self, BoardError> {
        let chip = chip.to_owned();
        let boards = Self::presets().iter().filter(|board| board.chip == chip);
        match boards.collect::<Vec<_>>().as_slice() {
            [board] => Ok(board),
            [] => Err(BoardError::NoneWithChip { chip }),
            several => {
                let ids: Vec<_> = several.iter().map(|board| board.id.as_str()).collect();
                let boards = ids.join(", ");
                Err(BoardError::SeveralWithChip { chip, boards })
            }
        }
    }

    /// A built-in board by its id, or a board file.
    ///
    /// # Errors
    /// When it is neither, or the file is refused.
    pub fn open(spec: impl AsRef<Path>) -> Result<Self, BoardError> {
        let path = spec.as_ref();
        if let Some(board) = path.to_str().and_then(Self::find) {
            return Ok(board.clone());
        }
        if path.extension().is_some_and(|ending| ending == "toml") {
            return Self::load(path);
        }
        let ids: Vec<_> = Self::presets().iter().map(|b| b.id.as_str()).collect();
        Err(BoardError::Unknown {
            name: path.to_string_lossy().into_owned(),
            known: ids.join(", "),
        })
    }

    /// What [`Board::open`] opens, or for "all" every built-in board.
    ///
    /// # Errors
    /// As [`Board::open`].
    pub fn open_all(spec: impl AsRef<Path>) -> Result<Vec<Self>, BoardError> {
        if spec.as_ref() == Path::new("all") {
            return Ok(Self::presets().to_vec());
        }
        Ok(vec![Self::open(spec)?])
    }

    /// Reads a board from a TOML file.
    ///
    /// # Errors
    /// When the file cannot be read, is not a board, or states an impossible number.
    pub fn load(path: &Path) -> Result<Self, BoardError> {
        let read = |source| BoardError::Read {
            path: path.to_owned(),
            source,
        };
        let text = text_file::read(path, text_file::WRITTEN_BYTES).map_err(read)?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Reads a board from TOML; `origin` names the text in errors.
    ///
    /// # Errors
    /// When the text is not a board or states an impossible number.
    pub fn parse(text: &str, origin: &str) -> Result<Self, BoardError> {
        Format::<1>::check_toml("board", origin, text)?;
        let board: Self = toml::from_str(text).map_err(|source| BoardError::Parse {
            origin: origin.to_owned(),
            source: Box::new(source),
        })?;
        board
            .check()
            .map_err(|(field, problem)| BoardError::Value {
                origin: origin.to_owned(),
                field,
                problem,
            })?;
        Ok(board)
    }

    /// The board, with what one of its kind has measured.
    #[must_use]
    pub fn reported(self, reports: &Reports) -> Self {
        let measured = reports.of(&self.chip).cloned().map(Arc::new);
        Self { measured, ..self }
    }

    /// Names the first field with an impossible value, and what is wrong with it.
    fn check(&self) -> Result<(), (&'static str, String)> {
        let slug = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.id.is_empty() || !self.id.chars().all(slug) {
            let found = &self.id;
            return Err((
                "id",
                format!("must be lower-case letters, digits and hyphens, found \"{found}\""),
            ));
        }
        check_counts("clock_hz", Some(&self.clock_hz))?;
        check_counts("cores", Some(&self.cores))?;
        check_counts("sram_bytes", Some(&self.sram_bytes))?;
        check_rates(
            "nominal_macs_per_cycle",
            self.nominal_macs_per_cycle.as_ref(),
        )?;
        check_rates(
            "measured_macs_per_cycle",
            self.measured_macs_per_cycle.as_ref(),
        )?;
        check_rates("active_power_watts", self.active_power_watts.as_ref())?;
        let memories = [&self.internal_flash, &self.serial_flash, &self.psram];
        for memory in memories.into_iter().flatten() {
            check_counts("bytes", Some(&memory.bytes))?;
            check_rates("raw_bytes_per_second", memory.raw_bytes_per_second.as_ref())?;
            check_rates(
                "measured_bytes_per_second",
                memory.measured_bytes_per_second.as_ref(),
            )?;
        }
        if self.flash_method == FlashMethod::Linux {
            // Its models lie in files, and run in RAM.
            return self.psram.as_ref().map(|_| ()).ok_or_else(|| {
                let problem = "is missing; a board that runs Linux has its model in it".to_owned();
                ("psram", problem)
            });
        }
        if self.internal_flash.is_none() && self.serial_flash.is_none() {
            return Err((
                "internal_flash",
                "and serial_flash are both missing; a board needs one".to_owned(),
            ));
        }
        Ok(())
    }
}

fn check_counts(
    field: &'static str,
    fact: Option<&Fact<u64>>,
) -> Result<(), (&'static str, String)> {
    #[expect(clippy::cast_precision_loss, reason = "compared with bounds only")]
    fact.map_or(Ok(()), |fact| check_fact(field, fact, |count| count as f64))
}

fn check_rates(
    field: &'static str,
    fact: Option<&Fact<f64>>,
) -> Result<(), (&'static str, String)> {
    fact.map_or(Ok(()), |fact| check_fact(field, fact, |rate| rate))
}

fn check_fact<T: Copy>(
    field: &'static str,
    fact: &Fact<T>,
    number: impl Fn(T) -> f64,
) -> Result<(), (&'static str, String)> {
    let value = number(fact.value);
    let low = fact.low.map_or(value, &number);
    let high = fact.high.map_or(value, &number);
    if !(low > 0.0 && high <= MAX_NUMBER) {
        return Err((
            field,
            format!("must be over 0 and at most {MAX_NUMBER:e}, found {low} to {high}"),
        ));
    }
    if !(low <= value && value <= high) {
        return Err((
            field,
            format!("must lie between its low and high, found {value} outside {low} to {high}"),
        ));
    }
    if fact.source.trim().is_empty() {
        return Err((
            field,
            "names no source; leave out a number that has none".to_owned(),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_a_board_with_its_own_id() {
        let mut ids: Vec<_> = PRESETS
            .iter()
            .map(|text| {
                Board::parse(text, "preset")
                    .unwrap_or_else(|e| panic!("{e:?}: {text}"))
                    .id
            })
            .collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), PRESETS.len());
        assert_eq!(
            Board::find("esp32-c3").map(|board| board.chip.as_str()),
            Some("esp32c3")
        );
        assert_eq!(Board::find("esp32-c99"), None);
    }

    #[test]
    fn a_chip_tells_its_board_where_only_one_has_it() {
        assert_eq!(Board::with_chip("esp32c3").unwrap().id, "esp32-c3");
        let refused = |chip: &str| Board::with_chip(chip).unwrap_err().to_string();
        assert_eq!(
            refused("esp32s3"),
            "esp32s3 is the chip of several boards: esp32-s3-n16r8, esp32-s3-n32r8v"
        );
        assert_eq!(refused("esp32h2"), "no built-in board has the chip esp32h2");
    }

    #[test]
    fn a_board_file_that_is_wrong_is_refused_with_its_field() {
        let good = PRESETS[0];
        let check = |from: &str, to: &str, expected: &str| {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{from} is not in the preset");
            let error = Board::parse(&bad, "my.toml").expect_err(to);
            let text = format!(
                "{error}: {}",
                std::error::Error::source(&error).map_or(String::new(), |e| e.to_string())
            );
            assert!(
                text.contains("my.toml") && text.contains(expected),
                "{text}"
            );
        };
        check("esp32-c3", "ESP32 C3", "id must be lower-case");
        check("clock_hz", "clock_mhz", "clock_mhz");
        check("160_000_000", "0", "clock_hz must be over 0");
        check("value = 0.11", "value = nan", "measured_macs_per_cycle");
        check("value = 0.11", "value = 0.2", "between its low and high");
        check("\"Espressif product page\"", "\" \"", "names no source");
        check("4_194_304", "-4", "");
    }

    #[test]
    fn a_board_written_by_the_user_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.toml");
        let mut board = Board::presets()[0].clone();
        board.id = "mine".to_owned();
        std::fs::write(&path, toml::to_string(&board).unwrap()).unwrap();
        assert_eq!(Board::load(&path).unwrap(), board);
        assert!(matches!(
            Board::load(&folder.path().join("none.toml")),
            Err(BoardError::Read { .. })
        ));
    }
}

//! What is in the files that a board is given, and under which licences: a software bill as CycloneDX 1.5 has it, and a page
//! for people.
//!
//! Source: CycloneDX Specification 1.5, JSON; package URLs of crates: purl specification, type `cargo`; licences by their SPDX
//! expressions.

use super::{Image, Part, Segment, firmware};
use crate::board::{Board, FlashMethod};
use crate::packed::{PackError, PackedModel, Provenance, bill, sha256_hex};
use serde_json::{Value, json};

/// Who made a firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirmwareOrigin {
    /// It comes along with Whittle.
    Prebuilt,
    /// Somebody else: what is in it is not known here.
    Own,
}

/// A crate in a firmware.
struct Crate<'c> {
    name: &'c str,
    version: &'c str,
    licence: &'c str,
}

/// Files that a board is given, and what they are made of.
#[derive(Debug, Clone)]
pub struct Delivery<'d> {
    board: &'d Board,
    origin: FirmwareOrigin,
    provenance: Provenance,
    /// What each file holds, its name and its bytes.
    files: Vec<(Part, &'static str, &'d [u8])>,
}

impl<'d> Delivery<'d> {
    /// The parts of a flash.
    ///
    /// # Errors
    /// When the model's provenance cannot be read.
    pub fn of_image(
        board: &'d Board,
        image: &'d Image,
        packed: &PackedModel,
        origin: FirmwareOrigin,
    ) -> Result<Self, PackError> {
        let file = |segment: &'d Segment| {
            let name = segment.part.file_name();
            (segment.part, name, segment.bytes.as_slice())
        };
        Ok(Self {
            board,
            origin,
            provenance: packed.provenance()?,
            files: image.segments.iter().map(file).collect(),
        })
    }

    /// A program for Linux with its model.
    ///
    /// # Errors
    /// As [`Self::of_image`].
    pub(super) fn of_program(
        board: &'d Board,
        (name, program): (&'static str, &'d [u8]),
        packed: &'d PackedModel,
        origin: FirmwareOrigin,
    ) -> Result<Self, PackError> {
        Ok(Self {
            board,
            origin,
            provenance: packed.provenance()?,
            files: vec![
                (Part::Firmware, name, program),
                (Part::Model, Part::Model.file_name(), packed.bytes()),
            ],
        })
    }

    /// The bill: each file with its SHA-256, the crates of the firmware, the model with its source, recipe and the text that it
    /// was fitted to.
    #[must_use]
    pub fn bill(&self) -> String {
        let files = self.files.iter();
        let mut components: Vec<Value> = files.filter_map(|file| self.component(file)).collect();
        components.extend(self.crates().iter().map(|each| {
            json!({
                "type": "library",
                "bom-ref": format!("pkg:cargo/{}@{}", each.name, each.version),
                "name": each.name,
                "version": each.version,
                "purl": format!("pkg:cargo/{}@{}", each.name, each.version),
                "licenses": [{ "expression": each.licence }],
            })
        }));
        components.extend(self.beside_crates().map(|(name, licence)| {
            json!({
                "type": "library",
                "name": name,
                "licenses": [{ "expression": licence }],
            })
        }));
        components.extend(bill::texts(&self.provenance));
        let subject = json!({
            "type": "firmware",
            "name": format!("{} on {}", self.provenance.name, self.board.name),
        });
        bill::text(&bill::document(&subject, components))
    }

    /// The component of a file; a partition table has no author.
    fn component(&self, (part, _, bytes): &(Part, &str, &[u8])) -> Option<Value> {
        let licences = |expression: &str| json!([{ "expression": expression }]);
        let hash = sha256_hex(bytes);
        let mut told = match (part, self.origin) {
            (Part::Bootloader, _) => json!({
                "type": "firmware",
                "name": "esp-idf-bootloader",
                "description": "ESP-IDF's second-stage bootloader, as espflash brings it",
                "licenses": licences("Apache-2.0"),
            }),
            (Part::Firmware, FirmwareOrigin::Prebuilt) => json!({
                "type": "firmware",
                "name": self.program(),
                "version": env!("CARGO_PKG_VERSION"),
                "licenses": licences("MIT OR Apache-2.0"),
            }),
            (Part::Firmware, FirmwareOrigin::Own) => json!({
                "type": "firmware",
                "name": "firmware",
                "description": "not Whittle's own: what is in it is not known here",
            }),
            (Part::Model, _) => return Some(bill::model(&self.provenance, &hash)),
            (Part::PartitionTable, _) => return None,
        };
        told["hashes"] = bill::hashes(&hash);
        Some(told)
    }

    /// What Whittle's own firmware is called.
    fn program(&self) -> String {
        match self.board.flash_method {
            FlashMethod::Linux => "whittle-linux".to_owned(),
            FlashMethod::EspressifSerial
            | FlashMethod::JLink
            | FlashMethod::StLink
            | FlashMethod::Uf2 => format!("whittle-{}", self.board.chip),
        }
    }

    /// The crates in the firmware, as `scripts/firmware-crates.sh` lists them.
    fn crates(&self) -> Vec<Crate<'static>> {
        match self.origin {
            FirmwareOrigin::Prebuilt => crates(self.board),
            FirmwareOrigin::Own => Vec::new(),
        }
    }

    /// What else is linked into the firmware: name and licence.
    fn beside_crates(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let is_ours = self.origin == FirmwareOrigin::Prebuilt;
        let runs_linux = self.board.flash_method == FlashMethod::Linux;
        [
            (is_ours, ("Rust's standard library", "MIT OR Apache-2.0")),
            (is_ours && runs_linux, ("musl", "MIT")),
        ]
        .into_iter()
        .filter_map(|(is_in, library)| is_in.then_some(library))
    }

    /// The same for people, with the texts of the licences that Whittle's own parts are under.
    #[must_use]
    pub fn licences(&self) -> String {
        let file = |(part, name, _): &(Part, &str, &[u8])| match (part, self.origin) {
            (Part::Bootloader, _) => format!("- {name}, ESP-IDF's: Apache-2.0\n"),
            (Part::Firmware, FirmwareOrigin::Prebuilt) => {
                format!("- {name}, {}: MIT OR Apache-2.0\n", self.program())
            }
            (Part::Firmware, FirmwareOrigin::Own) => {
                format!("- {name}, firmware of your own: not known here\n")
            }
            (Part::Model, _) => bill::licence_line(name, &self.provenance),
            (Part::PartitionTable, _) => String::new(),
        };
        let files: String = self.files.iter().map(file).collect();
        let crates = self.crates();
        let crates = crates
            .iter()
            .map(|each| format!("- {} {}: {}\n", each.name, each.version, each.licence));
        let beside = self.beside_crates();
        let beside = beside.map(|(name, licence)| format!("- {name}: {licence}\n"));
        let listed: String = beside.chain(crates).collect();
        format!(
            "# Licences of what is in this folder\n\n{files}\n\
             ## Libraries in the firmware\n\n{listed}\n\
             Each one's own notice stands in its sources.\n\n\
             ## MIT\n\n{}\n## Apache-2.0\n\n{}",
            include_str!("../../LICENSE-MIT"),
            include_str!("../../LICENSE-APACHE"),
        )
    }
}

fn crates(board: &Board) -> Vec<Crate<'static>> {
    let of_line = |line: &'static str| {
        let (name, rest) = line.split_once(' ')?;
        let (version, licence) = rest.split_once(' ')?;
        Some(Crate {
            name,
            version,
            licence,
        })
    };
    let lines = firmware::crates(board).lines();
    lines.filter_map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::prebuilt;

    /// Who brings a new crate into a firmware lists it: `scripts/firmware-crates.sh`.
    #[test]
    fn every_prebuilt_firmware_has_a_list_of_crates_that_its_lock_file_knows() {
        let mut seen = 0;
        for board in Board::presets() {
            if prebuilt(board).is_none() {
                continue;
            }
            let (lock, least) = match board.flash_method {
                FlashMethod::Linux => (include_str!("../../firmware/boards/linux/Cargo.lock"), 10),
                _ => (
                    include_str!("../../firmware/boards/esp-riscv/Cargo.lock"),
                    50,
                ),
            };
            let crates = crates(board);
            assert!(crates.len() > least, "{}: {}", board.id, crates.len());
            for each in crates {
                let entry = format!("name = \"{}\"\nversion = \"{}\"", each.name, each.version);
                assert!(lock.contains(&entry), "{}: {entry}", board.id);
                let words = each.licence.split(' ');
                let is_expression = |word: &str| {
                    word.chars()
                        .all(|c| c.is_alphanumeric() || "-.()".contains(c))
                };
                assert!(words.into_iter().all(is_expression), "{}", each.licence);
            }
            seen += 1;
        }
        assert_eq!(seen, 4);
    }
}

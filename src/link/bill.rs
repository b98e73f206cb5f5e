//! What is in an exported flash and under which licences: a software bill as CycloneDX 1.5 has it, and a page for people.
//!
//! Source: CycloneDX Specification 1.5, JSON; package URLs of crates: purl specification, type `cargo`; licences by their SPDX
//! expressions.

use super::{Image, Part, Segment};
use crate::board::Board;
use crate::packed::{PackError, PackedModel, Provenance, sha256_hex};
use serde_json::{Value, json};

/// The crates in the firmware that comes along, as `scripts/firmware-crates.sh` lists them.
const CRATES: [(&str, &str); 3] = [
    (
        "esp32c3",
        include_str!("../../assets/firmware/esp32c3.crates"),
    ),
    (
        "esp32c6",
        include_str!("../../assets/firmware/esp32c6.crates"),
    ),
    (
        "esp32p4",
        include_str!("../../assets/firmware/esp32p4.crates"),
    ),
];

/// Who made the firmware of an image.
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

fn crates(board: &Board, origin: FirmwareOrigin) -> Vec<Crate<'static>> {
    let of_chip = CRATES.iter().find(|(chip, _)| *chip == board.chip);
    let list = match origin {
        FirmwareOrigin::Prebuilt => of_chip.map_or("", |(_, list)| list),
        FirmwareOrigin::Own => "",
    };
    let of_line = |line: &'static str| {
        let (name, rest) = line.split_once(' ')?;
        let (version, licence) = rest.split_once(' ')?;
        Some(Crate {
            name,
            version,
            licence,
        })
    };
    list.lines().filter_map(of_line).collect()
}

/// The bill of an image: each part with its SHA-256, the crates of the firmware, the model with its source, recipe and the
/// text that it was fitted to.
///
/// # Errors
/// When the model's provenance cannot be read.
pub fn bill(
    board: &Board,
    image: &Image,
    packed: &PackedModel,
    origin: FirmwareOrigin,
) -> Result<Value, PackError> {
    let provenance = packed.provenance()?;
    let mut components: Vec<Value> = image
        .segments
        .iter()
        .filter_map(|segment| part(segment, board, origin))
        .collect();
    components.push(model(image, &provenance));
    components.extend(crates(board, origin).iter().map(|each| {
        json!({
            "type": "library",
            "bom-ref": format!("pkg:cargo/{}@{}", each.name, each.version),
            "name": each.name,
            "version": each.version,
            "purl": format!("pkg:cargo/{}@{}", each.name, each.version),
            "licenses": [{ "expression": each.licence }],
        })
    }));
    components.extend(provenance.calibration.iter().map(|text| {
        json!({
            "type": "data",
            "name": text.text,
            "description": format!("the model's weights were fitted to {} tokens of it", text.tokens),
            "hashes": [{ "alg": "SHA-256", "content": text.sha256 }],
        })
    }));
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "tools": { "components": [{
                "type": "application",
                "name": "whittle",
                "version": env!("CARGO_PKG_VERSION"),
            }] },
            "component": {
                "type": "firmware",
                "name": format!("{} on {}", provenance.name, board.name),
            },
        },
        "components": components,
    }))
}

fn hashes(segment: &Segment) -> Value {
    json!([{ "alg": "SHA-256", "content": sha256_hex(&segment.bytes) }])
}

/// Bootloader and firmware; the table has no author, and the model is told apart.
fn part(segment: &Segment, board: &Board, origin: FirmwareOrigin) -> Option<Value> {
    let licences = |expression: &str| json!([{ "expression": expression }]);
    let mut told = match (segment.part, origin) {
        (Part::Bootloader, _) => json!({
            "type": "firmware",
            "name": "esp-idf-bootloader",
            "description": "ESP-IDF's second-stage bootloader, as espflash brings it",
            "licenses": licences("Apache-2.0"),
        }),
        (Part::Firmware, FirmwareOrigin::Prebuilt) => json!({
            "type": "firmware",
            "name": format!("whittle-{}", board.chip),
            "version": env!("CARGO_PKG_VERSION"),
            "licenses": licences("MIT OR Apache-2.0"),
        }),
        (Part::Firmware, FirmwareOrigin::Own) => json!({
            "type": "firmware",
            "name": "firmware",
            "description": "not Whittle's own: what is in it is not known here",
        }),
        (Part::PartitionTable | Part::Model, _) => return None,
    };
    told["hashes"] = hashes(segment);
    Some(told)
}

fn model(image: &Image, provenance: &Provenance) -> Value {
    let segment = image.segments.iter().find(|s| s.part == Part::Model);
    let mut told = json!({
        "type": "machine-learning-model",
        "name": provenance.name,
        "hashes": segment.map_or_else(|| json!([]), hashes),
        "properties": [
            { "name": "whittle:source", "value": provenance.file },
            { "name": "whittle:source-sha256", "value": provenance.sha256 },
            { "name": "whittle:source-precision", "value": provenance.precision },
        ],
    });
    if let Some(licence) = &provenance.licence {
        // As its files say it, which need not be SPDX.
        told["licenses"] = json!([{ "license": { "name": licence } }]);
    }
    told
}

/// The same for people, with the texts of the licences that Whittle's own parts are under.
///
/// # Errors
/// As [`bill`].
pub fn licences(
    board: &Board,
    packed: &PackedModel,
    origin: FirmwareOrigin,
) -> Result<String, PackError> {
    let provenance = packed.provenance()?;
    let firmware = match origin {
        FirmwareOrigin::Prebuilt => format!("whittle-{}: MIT OR Apache-2.0", board.chip),
        FirmwareOrigin::Own => "firmware of your own: not known here".to_owned(),
    };
    let model = provenance
        .licence
        .as_deref()
        .unwrap_or("its files name none");
    let listed: String = crates(board, origin)
        .iter()
        .map(|each| format!("- {} {}: {}\n", each.name, each.version, each.licence))
        .collect();
    Ok(format!(
        "# Licences of what is in this folder\n\n\
         - bootloader.bin, ESP-IDF's: Apache-2.0\n\
         - firmware.bin, {firmware}\n\
         - model.whittle, {}: {model}\n\n\
         ## Crates in the firmware\n\n{listed}\n\
         Each crate's own notice stands in its sources.\n\n\
         ## MIT\n\n{}\n## Apache-2.0\n\n{}",
        provenance.name,
        include_str!("../../LICENSE-MIT"),
        include_str!("../../LICENSE-APACHE"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::prebuilt;

    /// Who brings a new crate into a firmware lists it: `scripts/firmware-crates.sh`.
    #[test]
    fn every_prebuilt_firmware_has_a_list_of_crates_that_its_lock_file_knows() {
        let lock = include_str!("../../firmware/boards/esp-riscv/Cargo.lock");
        let mut seen = 0;
        for board in Board::presets() {
            if prebuilt(board).is_none() || !lock.contains(&format!("\"{}\"", board.chip)) {
                continue;
            }
            let crates = crates(board, FirmwareOrigin::Prebuilt);
            assert!(crates.len() > 50, "{}: {}", board.id, crates.len());
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
        assert_eq!(seen, 3);
        assert!(crates(Board::find("esp32-c3").unwrap(), FirmwareOrigin::Own).is_empty());
    }
}

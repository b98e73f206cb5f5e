//! Checks of a firmware ELF file before espflash reads it: espflash trusts what the file claims.
//!
//! Source: System V ABI, "Object Files", 32-bit little-endian.

use crate::board::Isa;

/// `e_machine` of the cores that Espressif builds.
const RISCV: u16 = 243;
const XTENSA: u16 = 94;
const HEADER_BYTES: usize = 52;
const SECTION_BYTES: usize = 40;
const SEGMENT_BYTES: usize = 32;
/// Section type without bytes in the file.
const NOBITS: u32 = 8;
/// Sections or segments of a firmware; esp-hal programs have about 30.
const MAX_ENTRIES: u16 = 4096;

/// Whether every section and segment lies inside the file and the address space.
///
/// # Errors
/// Says what was expected and found.
pub(super) fn check(file: &[u8], isa: Isa) -> Result<(), String> {
    if file.len() < HEADER_BYTES || !file.starts_with(b"\x7FELF\x01\x01") {
        return Err("expected a 32-bit little-endian ELF header".to_owned());
    }
    let expected = match isa {
        Isa::Riscv32imc | Isa::Riscv32imac | Isa::Riscv32imafc => RISCV,
        Isa::Xtensa => XTENSA,
        Isa::Thumbv7em | Isa::Thumbv8m => return Err("Espressif builds no Arm chips".to_owned()),
    };
    let machine = half(file, 18);
    if machine != expected {
        return Err(format!("expected machine {expected}, found {machine}"));
    }
    for entry in table(
        file,
        word(file, 32),
        half(file, 46),
        half(file, 48),
        SECTION_BYTES,
        "section",
    )? {
        let [kind, address, offset, size] = [4, 12, 16, 20].map(|at| word(entry, at));
        within("section", address, size, u64::from(u32::MAX))?;
        if kind != NOBITS {
            within("section", offset, size, file.len() as u64)?;
        }
    }
    for entry in table(
        file,
        word(file, 28),
        half(file, 42),
        half(file, 44),
        SEGMENT_BYTES,
        "segment",
    )? {
        let [
            offset,
            virtual_address,
            physical_address,
            file_bytes,
            memory_bytes,
        ] = [4, 8, 12, 16, 20].map(|at| word(entry, at));
        within("segment", offset, file_bytes, file.len() as u64)?;
        within(
            "segment",
            virtual_address,
            memory_bytes,
            u64::from(u32::MAX),
        )?;
        within(
            "segment",
            physical_address,
            memory_bytes,
            u64::from(u32::MAX),
        )?;
    }
    Ok(())
}

/// The entries of a header table.
fn table<'a>(
    file: &'a [u8],
    offset: u32,
    entry_bytes: u16,
    count: u16,
    expected_bytes: usize,
    what: &str,
) -> Result<impl Iterator<Item = &'a [u8]>, String> {
    if count > MAX_ENTRIES || (count > 0 && usize::from(entry_bytes) != expected_bytes) {
        return Err(format!(
            "expected up to {MAX_ENTRIES} {what} headers of {expected_bytes} bytes, found {count} of {entry_bytes}"
        ));
    }
    let bytes = usize::from(count) * expected_bytes;
    let start = usize::try_from(offset).map_err(|_| format!("{what} headers start at {offset}"))?;
    let end = start.checked_add(bytes).filter(|end| *end <= file.len());
    let end = end.ok_or_else(|| {
        format!(
            "{count} {what} headers at {offset} end after the file's {} bytes",
            file.len()
        )
    })?;
    Ok(file[start..end].chunks_exact(expected_bytes))
}

fn within(what: &str, start: u32, size: u32, limit: u64) -> Result<(), String> {
    let end = u64::from(start) + u64::from(size);
    if end <= limit {
        Ok(())
    } else {
        Err(format!(
            "a {what} of {size} bytes at {start:#x} ends after {limit:#x}"
        ))
    }
}

/// Little-endian; callers have checked that the header or entry is whole.
fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

//! Checks of a firmware ELF file: before espflash reads it, which trusts what the file claims, or before it is handed on.
//!
//! Its tables are read by `object`, by which espflash reads them too.

use crate::board::Isa;
use object::LittleEndian;
use object::elf::{EM_AARCH64, EM_RISCV, EM_XTENSA, FileHeader32, FileHeader64, Machine};
use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _};

/// Sections or segments of a firmware; esp-hal programs have about 30.
const MAX_ENTRIES: usize = 4096;

/// Whether every section and segment lies inside the file and the address space.
///
/// # Errors
/// Says what was expected and found.
pub(super) fn check(file: &[u8], isa: Isa) -> Result<(), String> {
    let header = FileHeader32::<LittleEndian>::parse(file);
    let header = header.and_then(|header| Ok((header, header.endian()?)));
    let (header, endian) =
        header.map_err(|_| "expected a 32-bit little-endian ELF header".to_owned())?;
    let expected = match isa {
        Isa::Riscv32imc | Isa::Riscv32imac | Isa::Riscv32imafc => EM_RISCV,
        Isa::Xtensa => EM_XTENSA,
        Isa::Thumbv7em | Isa::Thumbv8m | Isa::Aarch64 => {
            return Err("Espressif builds no Arm chips".to_owned());
        }
    };
    let machine = header.e_machine(endian);
    if machine != expected {
        return Err(other_processor(expected, machine));
    }
    let said = |error: object::Error| error.to_string();
    let sections = header.section_headers(endian, file).map_err(said)?;
    let segments = header.program_headers(endian, file).map_err(said)?;
    let (found, segments_found) = (sections.len(), segments.len());
    if found.max(segments_found) > MAX_ENTRIES {
        return Err(format!(
            "expected up to {MAX_ENTRIES} sections and segments, found {found} and {segments_found}"
        ));
    }
    let (file_bytes, addresses) = (file.len() as u64, u64::from(u32::MAX));
    for section in sections {
        let (address, bytes) = (section.sh_addr(endian), section.sh_size(endian));
        within("section", (address.into(), bytes.into()), addresses)?;
        if let Some(range) = section.file_range(endian) {
            within("section", range, file_bytes)?;
        }
    }
    for segment in segments {
        within("segment", segment.file_range(endian), file_bytes)?;
        let bytes = segment.p_memsz(endian).into();
        for address in [segment.p_vaddr(endian), segment.p_paddr(endian)] {
            within("segment", (address.into(), bytes), addresses)?;
        }
    }
    Ok(())
}

/// Whether a program for Linux is one for this processor; Linux itself checks the rest.
///
/// # Errors
/// Says what was expected and found.
pub(super) fn check_linux(program: &[u8], isa: Isa) -> Result<(), String> {
    if isa != Isa::Aarch64 {
        return Err("boards that run Linux have aarch64 processors".to_owned());
    }
    let header = FileHeader64::<LittleEndian>::parse(program);
    let machine = header.and_then(|header| Ok(header.e_machine(header.endian()?)));
    match machine {
        Ok(EM_AARCH64) => Ok(()),
        Ok(other) => Err(other_processor(EM_AARCH64, other)),
        Err(_) => Err("expected a 64-bit little-endian ELF header".to_owned()),
    }
}

/// The sentence about a program for another processor.
fn other_processor(expected: Machine, found: Machine) -> String {
    let name = |machine: Machine| match machine {
        EM_RISCV => "RISC-V".to_owned(),
        EM_XTENSA => "Xtensa".to_owned(),
        EM_AARCH64 => "aarch64".to_owned(),
        Machine(other) => format!("machine {other}"),
    };
    format!("it is for {}, the board is {}", name(found), name(expected))
}

/// Whether the bytes of a part, from a start and so many, end at `limit`; both numbers have 32 bits.
fn within(what: &str, (start, bytes): (u64, u64), limit: u64) -> Result<(), String> {
    if start + bytes <= limit {
        Ok(())
    } else {
        Err(format!(
            "a {what} of {bytes} bytes at {start:#x} ends after {limit:#x}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program with one segment and two sections, of which the second has eight bytes; some words changed.
    fn checked(changes: &[(usize, u32)]) -> Result<(), String> {
        let mut file = b"\x7FELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        let mut put = |words: &[u32]| file.extend(words.iter().flat_map(|w| w.to_le_bytes()));
        // Type and machine, version, entry, segments at 52, sections at 84, flags, sizes and counts.
        put(&[2 | 243 << 16, 1, 0x4200_0000, 52, 84, 0]);
        put(&[52 | 32 << 16, 1 | 40 << 16, 2]);
        put(&[1, 164, 0x4200_0000, 0x4200_0000, 8, 8, 5, 4]);
        put(&[0; 10]);
        put(&[0, 1, 6, 0x4200_0000, 164, 8, 0, 0, 4, 0]);
        put(&[0x13, 0x13]);
        for (at, word) in changes {
            file[*at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        check(&file, Isa::Riscv32imc)
    }

    #[test]
    fn what_lies_outside_of_the_file_or_of_the_addresses_is_refused() {
        assert_eq!(checked(&[]), Ok(()));
        // The last section ends where the file ends.
        assert_eq!(checked(&[(140, 164), (144, 8)]), Ok(()));
        for (changes, expected) in [
            (&[(0, 0)][..], "ELF header"),
            (&[(4, 0x01_01_02_01)], "ELF header"),
            (&[(4, 0x01_01_02)], "ELF header"),
            (
                &[(16, 2 | 94 << 16)],
                "it is for Xtensa, the board is RISC-V",
            ),
            (&[(32, 200)], "section header"),
            (&[(32, u32::MAX)], "section header"),
            (&[(28, u32::MAX)], "program header"),
            (&[(44, 0xFFF0 | 40 << 16)], "program header"),
            (&[(144, 9)], "a section of 9 bytes at 0xa4 ends after 0xac"),
            (&[(140, u32::MAX)], "ends after 0xac"),
            (&[(136, 0xFFFF_FFF8)], "ends after 0xffffffff"),
            (&[(56, 165)], "a segment of 8 bytes at 0xa5"),
            (&[(60, 0xFFFF_FFF8)], "ends after 0xffffffff"),
            (&[(72, u32::MAX)], "ends after 0xffffffff"),
        ] {
            let error = checked(changes).unwrap_err();
            assert!(error.contains(expected), "{changes:?}: {error}");
        }
    }

    #[test]
    fn sections_that_the_first_one_counts_are_checked_too() {
        // No count in the header: the size of the first section is the count.
        let counted = [(48, 0), (84 + 20, 2)];
        assert_eq!(checked(&counted), Ok(()));
        let outside = [&counted[..], &[(144, 9)]].concat();
        assert!(checked(&outside).unwrap_err().contains("9 bytes"));
        let many = [(48, 0), (84 + 20, 5000)];
        assert!(checked(&many).is_err());
    }
}

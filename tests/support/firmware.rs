//! Programs that look like firmware for an ESP32-C3 or an Xtensa chip, small and the same on every run.
//!
//! Include with `#[path = "support/firmware.rs"] mod firmware;`.
#![allow(dead_code, reason = "each test binary uses its own part")]

/// A program of `text_bytes` that the bundled bootloader of an ESP32-C3 would start.
pub(crate) fn firmware(text_bytes: usize) -> Vec<u8> {
    firmware_at(0x3C00_0020, text_bytes)
}

/// Application descriptor at an address in the chip's data window, and code.
pub(crate) fn firmware_at(data_address: u32, text_bytes: usize) -> Vec<u8> {
    const RISCV: u8 = 243;
    program(RISCV, (data_address, 0x4201_0020), vec![0x13; text_bytes])
}

/// A program for Xtensa with the stamp of this engine in its code; addresses of descriptor and code.
pub(crate) fn xtensa(addresses: (u32, u32), text_bytes: usize) -> Vec<u8> {
    const XTENSA: u8 = 94;
    let mut text = engine::stamp::Stamp::of_this_engine(7).to_bytes().to_vec();
    text.resize(text_bytes, 0);
    program(XTENSA, addresses, text)
}

fn program(machine: u8, (data_address, text_address): (u32, u32), text: Vec<u8>) -> Vec<u8> {
    let mut descriptor = vec![0; 256];
    descriptor[..4].copy_from_slice(&0xABCD_5432_u32.to_le_bytes());
    descriptor[178..180].copy_from_slice(&[0xFF, 0xFF]);
    descriptor[180] = 16;
    let names = b"\0.flash.appdesc\0.text\0.shstrtab\0";
    // Name, type, flags, address, bytes: PROGBITS is 1, STRTAB 3, ALLOC 2, EXEC 4.
    let sections: [(u32, u32, u32, u32, &[u8]); 4] = [
        (0, 0, 0, 0, &[]),
        (1, 1, 2, data_address, &descriptor),
        (16, 1, 6, text_address, &text),
        (22, 3, 0, 0, names),
    ];
    let mut body = Vec::new();
    let mut headers = Vec::new();
    for (name, kind, flags, address, bytes) in sections {
        let offset = 52 + body.len() as u32;
        let header = [
            name,
            kind,
            flags,
            address,
            offset,
            bytes.len() as u32,
            0,
            0,
            4,
            0,
        ];
        headers.extend(header.iter().flat_map(|field| field.to_le_bytes()));
        body.extend_from_slice(bytes);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let mut file = b"\x7FELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend([2, 0, machine, 0, 1, 0, 0, 0]);
    for word in [text_address, 0, 52 + body.len() as u32, 0_u32] {
        file.extend(word.to_le_bytes());
    }
    for half in [52, 0, 0, 40, 4, 3_u16] {
        file.extend(half.to_le_bytes());
    }
    [file, body, headers].concat()
}

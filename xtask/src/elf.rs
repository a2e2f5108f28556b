//! Reads as much of a 64-bit little-endian ELF file as tells whether it is a static
//! position-independent executable (System V ABI, chapters 4 and 5).

const ET_DYN: u16 = 3;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const DT_NULL: u64 = 0;
const DT_NEEDED: u64 = 1;
const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;

/// An error says what it is instead.
pub(crate) fn is_static_pie(file: &[u8]) -> Result<(), String> {
    if file.len() < HEADER || !file.starts_with(b"\x7fELF\x02\x01") {
        return Err("no 64-bit little-endian ELF file".to_owned());
    }
    if u16_at(file, 16)? != ET_DYN {
        return Err("loaded at a fixed address: not position-independent".to_owned());
    }
    let table = offset(u64_at(file, 32)?)?;
    let entry = usize::from(u16_at(file, 54)?);
    let count = usize::from(u16_at(file, 56)?);
    if entry < PROGRAM_HEADER {
        return Err("its program headers are too short".to_owned());
    }
    let mut dynamic = None;
    for index in 0..count {
        let at = table
            .checked_add(index * entry)
            .ok_or("its program headers are outside the file")?;
        match u32_at(file, at)? {
            PT_INTERP => return Err("asks for a dynamic loader: not static".to_owned()),
            PT_DYNAMIC => {
                dynamic = Some((
                    offset(u64_at(file, at + 8)?)?,
                    offset(u64_at(file, at + 32)?)?,
                ))
            }
            _ => {}
        }
    }
    let (start, length) = dynamic.ok_or("has no dynamic section: cannot move itself")?;
    let section = start
        .checked_add(length)
        .and_then(|end| file.get(start..end));
    let section = section.ok_or("its dynamic section is outside the file")?;
    for pair in section.chunks_exact(16) {
        match u64_at(pair, 0)? {
            DT_NULL => break,
            DT_NEEDED => return Err("needs a shared library: not static".to_owned()),
            _ => {}
        }
    }
    Ok(())
}

fn offset(value: u64) -> Result<usize, String> {
    usize::try_from(value).map_err(|_| "an offset is too large".to_owned())
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, String> {
    array(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, String> {
    array(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64, String> {
    array(bytes, at).map(u64::from_le_bytes)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], String> {
    let end = at.checked_add(N);
    let found = end
        .and_then(|end| bytes.get(at..end))
        .and_then(|slice| slice.try_into().ok());
    found.ok_or_else(|| "cut short".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with one program header of `kind`, whose segment holds one dynamic entry of `tag`.
    fn elf(file_type: u16, kind: u32, tag: u64) -> Vec<u8> {
        let mut file = vec![0; HEADER + PROGRAM_HEADER + 32];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[16..18].copy_from_slice(&file_type.to_le_bytes());
        file[32..40].copy_from_slice(&64_u64.to_le_bytes());
        file[54..56].copy_from_slice(&56_u16.to_le_bytes());
        file[56..58].copy_from_slice(&1_u16.to_le_bytes());
        file[64..68].copy_from_slice(&kind.to_le_bytes());
        file[72..80].copy_from_slice(&120_u64.to_le_bytes());
        file[96..104].copy_from_slice(&32_u64.to_le_bytes());
        file[120..128].copy_from_slice(&tag.to_le_bytes());
        file
    }

    #[test]
    fn a_static_pie_moves_itself_and_needs_nothing() {
        assert_eq!(is_static_pie(&elf(ET_DYN, PT_DYNAMIC, DT_NULL)), Ok(()));
    }

    #[test]
    fn a_loader_a_library_or_a_fixed_address_is_named() {
        assert!(
            is_static_pie(&elf(ET_DYN, PT_INTERP, DT_NULL))
                .unwrap_err()
                .contains("loader")
        );
        assert!(
            is_static_pie(&elf(ET_DYN, PT_DYNAMIC, DT_NEEDED))
                .unwrap_err()
                .contains("library")
        );
        assert!(
            is_static_pie(&elf(2, PT_DYNAMIC, DT_NULL))
                .unwrap_err()
                .contains("fixed")
        );
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error() {
        let file = elf(ET_DYN, PT_DYNAMIC, DT_NULL);
        for length in 0..file.len() {
            assert!(is_static_pie(&file[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn the_running_test_is_not_static() {
        let file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(is_static_pie(&file).is_err());
    }
}

//! A snapshot file from elsewhere.

use super::*;
use crate::fuzz::of_this_version;

/// The first byte says whether the file is read as it is, or with its checksums, its count and its digest put right, and then
/// whether the digest is looked at. What is taken is a catalogue that writes a file which is taken for the same catalogue.
pub(crate) fn snapshot_file(bytes: &[u8]) {
    let Some((how, file)) = bytes.split_first() else { return };
    let check = if how & 2 == 0 { Check::Digest } else { Check::Checksums };
    let Some((header, catalog)) = (if how & 1 == 0 { taken(file, check) } else { taken(&mended(file), check) }) else {
        return;
    };
    let again = taken(&written(&header, &catalog), Check::Digest).expect("what a node writes it reads");
    assert!(again == (header, catalog), "a file restores another catalogue than it was written of");
}

fn taken(file: &[u8], check: Check) -> Option<(Header, Catalog)> {
    let path = Path::new("from elsewhere");
    let reader = Reader::of(path, file, check).ok()?;
    match read(path, reader) {
        Ok((header, catalog, info)) => {
            assert!(info.bytes <= file.len() as u64 && info.records <= info.bytes);
            Some((header, catalog))
        }
        Err(error) => {
            assert!(!error.to_string().contains("panicked"), "{error}");
            None
        }
    }
}

fn written(header: &Header, catalog: &Catalog) -> Vec<u8> {
    let mut records = Vec::new();
    for record in catalog.export() {
        append_record(&mut records, &record).expect("a record has an encoding");
    }
    let (mut file, mut seal) = (MAGIC.to_vec(), SealedRecords::default());
    let header = codec::encode(Kind::SnapshotHeader, header).expect("a header has an encoding");
    let chunk = [&[codec::VERSION, Kind::SnapshotChunk as u8][..], &records].concat();
    for payload in [header, chunk] {
        seal.append(&mut file, &payload);
    }
    let trailer = codec::encode(Kind::SnapshotTrailer, &Trailer { records: 0, digest: [0; 32] });
    seal.append(&mut file, &trailer.expect("a trailer has an encoding"));
    file
}

/// The file with right checksums and versions, and an end that says what stands before it.
fn mended(file: &[u8]) -> Vec<u8> {
    let (mut mended, mut seal) = (MAGIC.to_vec(), SealedRecords::default());
    let mut rest = file.get(MAGIC.len()..).unwrap_or_default();
    while let Some((word, after)) = rest.split_first_chunk::<4>() {
        let after = after.get(4..).unwrap_or_default();
        let len = after.len().min(u32::from_le_bytes(*word) as usize);
        seal.append(&mut mended, &of_this_version(&after[..len]));
        rest = &after[len..];
    }
    mended
}

/// The records of the frames so far.
#[derive(Default)]
struct SealedRecords {
    hasher: Sha256,
    records: u64,
}

impl SealedRecords {
    /// Appends a frame; a trailer is made to fit.
    fn append(&mut self, file: &mut Vec<u8>, payload: &[u8]) {
        let mut payload = payload.to_vec();
        if let Ok(mut records) = codec::body(Kind::SnapshotChunk, &payload) {
            self.hasher.update(records);
            while let Some((_, rest)) = split_record(records) {
                (records, self.records) = (rest, self.records + 1);
            }
        }
        if codec::decode::<Trailer>(Kind::SnapshotTrailer, &payload).is_ok() {
            let trailer = Trailer { records: self.records, digest: self.hasher.clone().finalize().into() };
            payload = codec::encode(Kind::SnapshotTrailer, &trailer).expect("a trailer has an encoding");
        }
        write_frame(file, &payload).expect("memory can be written to");
    }
}

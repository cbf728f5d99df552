//! Snapshot files: the whole catalogue at one log entry, as a stream of checked records.
//!
//! ```text
//! magic "RCSNAP01"
//! frame  header   cluster id, last log id, membership
//! frame  chunk    many catalogue records, each with its length        (repeated)
//! frame  trailer  number of records, SHA-256 over all records
//! ```
//! A frame is `[length u32 LE][CRC-32 u32 LE][payload]`; payloads go through [`crate::codec`]. The digest covers the
//! catalogue records and nothing else, so nodes with equal catalogues have files with equal digests, whatever their
//! membership or log looked like.
//!
//! Files are written under a temporary name, synced, renamed, and the directory synced: a file with its final name is
//! whole. Neither writing nor reading ever holds a snapshot in memory; while one thread reads, checks and decodes, a second
//! one builds the catalogue.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod store;

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};

use rollcall_catalog::{Catalog, Importer, SnapshotRecord};
use rollcall_types::ClusterId;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use crate::error::SnapshotError;

use crate::codec::{self, CodecError, Kind};
use crate::identity::sync_dir;
use crate::types::SnapshotMeta;
pub(crate) use store::{SnapshotFile, SnapshotStore, Stored};

const MAGIC: &[u8; 8] = b"RCSNAP01";
/// Records are written in chunks of about this many bytes.
const CHUNK_BYTES: usize = 128 << 10;
/// Largest frame that is read. The largest record is the session of a node: 16,384 answers of at most 1 KiB, and what names them.
const FRAME_BYTES_MAX: u32 = 32 << 20;
/// Largest record that is written: with what stands before it in its chunk it makes a frame that is read.
const RECORD_BYTES_MAX: usize = FRAME_BYTES_MAX as usize - 2 * CHUNK_BYTES;
/// Decoded chunks between the thread that reads and the one that builds.
const CHUNKS_AHEAD: usize = 8;

/// SHA-256 over the catalogue records of a snapshot. Equal catalogues have equal digests.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest([u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// What a snapshot file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// The last log entry in it.
    pub index: u64,
    /// That entry's term.
    pub term: u64,
    /// The cluster it was taken in.
    pub cluster_id: ClusterId,
    /// How many catalogue records it has.
    pub records: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// Digest of the records.
    pub digest: Digest,
}

/// Checks a snapshot file from end to end and says what it holds.
///
/// # Errors
/// When the file cannot be read, is no snapshot, or is damaged anywhere.
pub fn inspect(path: &Path) -> Result<SnapshotInfo, SnapshotError> {
    let mut reader = Reader::open(path, Check::Digest)?;
    while reader.next_chunk()?.is_some() {}
    reader.info()
}

/// The digest of a catalogue: that of a snapshot of it.
///
/// # Errors
/// When a record has no encoding, which no value that can be made has.
pub fn digest(catalog: &Catalog) -> Result<Digest, CodecError> {
    let mut hasher = Sha256::new();
    let mut record_bytes = Vec::new();
    for record in catalog.export() {
        record_bytes.clear();
        append_record(&mut record_bytes, &record)?;
        hasher.update(&record_bytes);
    }
    Ok(Digest(hasher.finalize().into()))
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) cluster: ClusterId,
    pub(crate) meta: SnapshotMeta,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trailer {
    pub(crate) records: u64,
    pub(crate) digest: [u8; 32],
}

fn append_record(buffer: &mut Vec<u8>, record: &SnapshotRecord) -> Result<(), CodecError> {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; 4]);
    let len = codec::append_body(buffer, record)?;
    // What could not be read back is not written: the snapshot before it, and the log, stay.
    if len > RECORD_BYTES_MAX {
        return Err(CodecError::TooLarge(len));
    }
    buffer[start..start + 4].copy_from_slice(&(len as u32).to_le_bytes());
    Ok(())
}

/// Writes `catalog` to `path`, which appears whole or not at all.
pub(crate) fn write(path: &Path, header: &Header, catalog: &Catalog) -> Result<SnapshotInfo, SnapshotError> {
    write_then(path, header, catalog, |tmp, _| publish(tmp, path))
}

/// Writes `catalog` to a temporary file beside `path`, which `publish` then gives its name.
fn write_then(
    path: &Path,
    header: &Header,
    catalog: &Catalog,
    publish: impl FnOnce(&Path, &SnapshotInfo) -> io::Result<()>,
) -> Result<SnapshotInfo, SnapshotError> {
    let tmp = path.with_extension("tmp");
    let result = write_tmp(&tmp, header, catalog).and_then(|info| {
        publish(&tmp, &info).map_err(|source| SnapshotError::Io { path: path.to_owned(), source })?;
        Ok(info)
    });
    if result.is_err() {
        // What is left is a temporary file that the next start removes; the first error is the one to tell.
        drop(std::fs::remove_file(&tmp));
    }
    result
}

/// Gives a finished, synced file its final name.
pub(crate) fn publish(tmp: &Path, path: &Path) -> io::Result<()> {
    std::fs::rename(tmp, path)?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    }
}

fn write_tmp(tmp: &Path, header: &Header, catalog: &Catalog) -> Result<SnapshotInfo, SnapshotError> {
    let io_failed = |source| SnapshotError::Io { path: tmp.to_owned(), source };
    let codec_failed = |source| SnapshotError::Codec { path: tmp.to_owned(), source };
    let file = File::create(tmp).map_err(io_failed)?;
    let mut writer = BufWriter::with_capacity(CHUNK_BYTES * 2, file);
    let mut bytes = MAGIC.len() as u64;
    writer.write_all(MAGIC).map_err(io_failed)?;
    let header_bytes = codec::encode(Kind::SnapshotHeader, header).map_err(codec_failed)?;
    bytes += write_frame(&mut writer, &header_bytes).map_err(io_failed)?;

    let mut hasher = Sha256::new();
    let mut records = 0;
    let chunk_start = [codec::VERSION, Kind::SnapshotChunk as u8];
    let mut chunk = Vec::with_capacity(CHUNK_BYTES + (CHUNK_BYTES >> 2));
    chunk.extend_from_slice(&chunk_start);
    for record in catalog.export() {
        append_record(&mut chunk, &record).map_err(codec_failed)?;
        records += 1;
        if chunk.len() >= CHUNK_BYTES {
            hasher.update(&chunk[chunk_start.len()..]);
            bytes += write_frame(&mut writer, &chunk).map_err(io_failed)?;
            chunk.truncate(chunk_start.len());
        }
    }
    hasher.update(&chunk[chunk_start.len()..]);
    bytes += write_frame(&mut writer, &chunk).map_err(io_failed)?;
    let trailer = Trailer { records, digest: hasher.finalize().into() };
    let trailer_bytes = codec::encode(Kind::SnapshotTrailer, &trailer).map_err(codec_failed)?;
    bytes += write_frame(&mut writer, &trailer_bytes).map_err(io_failed)?;
    let file = writer.into_inner().map_err(|error| io_failed(error.into_error()))?;
    file.sync_all().map_err(io_failed)?;
    Ok(info_of(header, &trailer, bytes))
}

fn info_of(header: &Header, trailer: &Trailer, bytes: u64) -> SnapshotInfo {
    let (index, term) = header.meta.last_log_id.map_or((0, 0), |id| (id.index, id.leader_id.term));
    SnapshotInfo {
        index,
        term,
        cluster_id: header.cluster,
        records: trailer.records,
        bytes,
        digest: Digest(trailer.digest),
    }
}

fn write_frame(writer: &mut impl Write, payload: &[u8]) -> io::Result<u64> {
    writer.write_all(&(payload.len() as u32).to_le_bytes())?;
    writer.write_all(&crc32fast::hash(payload).to_le_bytes())?;
    writer.write_all(payload)?;
    Ok(8 + payload.len() as u64)
}

/// How much of a snapshot is checked when it is read. Checksums, counts and the records themselves always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// The digest too: of a file that comes from elsewhere.
    Digest,
    /// No digest: of a file that this node wrote, or checked when it came. The digest is a quarter of the work of reading.
    Checksums,
}

/// Reads a snapshot into a catalogue.
pub(crate) fn load(path: &Path, check: Check) -> Result<(Header, Catalog, SnapshotInfo), SnapshotError> {
    read(path, Reader::open(path, check)?)
}

fn read<R: Read>(path: &Path, mut reader: Reader<R>) -> Result<(Header, Catalog, SnapshotInfo), SnapshotError> {
    let header = reader.header.clone();
    let (catalog, info) = std::thread::scope(|scope| {
        let (tx, rx) = sync_channel(CHUNKS_AHEAD);
        let builder = scope.spawn(|| import(path, rx));
        let read = (|| {
            while let Some(chunk) = reader.next_chunk()? {
                if tx.send(decode_chunk(path, &chunk)?).is_err() {
                    // The builder failed, and says why below.
                    break;
                }
            }
            Ok::<_, SnapshotError>(())
        })();
        drop(tx);
        let imported = builder.join().unwrap_or_else(|_| {
            Err(SnapshotError::Damaged { path: path.to_owned(), problem: "building the catalogue panicked".to_owned() })
        });
        read?;
        Ok::<_, SnapshotError>((imported?, reader.info()?))
    })?;
    let expected = header.meta.last_log_id.map_or(0, |id| id.index);
    if catalog.revision().get() != expected {
        let problem = format!("the catalogue is at revision {}, the header says {expected}", catalog.revision());
        return Err(SnapshotError::Damaged { path: path.to_owned(), problem });
    }
    Ok((header, catalog, info))
}

fn decode_chunk(path: &Path, mut rest: &[u8]) -> Result<Vec<SnapshotRecord>, SnapshotError> {
    let mut records = Vec::new();
    while !rest.is_empty() {
        let (body, after) = split_record(rest).ok_or_else(|| SnapshotError::Damaged {
            path: path.to_owned(),
            problem: "a record runs past its chunk".to_owned(),
        })?;
        let record = codec::decode_body(body);
        records.push(record.map_err(|source| SnapshotError::Codec { path: path.to_owned(), source })?);
        rest = after;
    }
    Ok(records)
}

fn import(path: &Path, chunks: Receiver<Vec<SnapshotRecord>>) -> Result<Catalog, SnapshotError> {
    let failed = |source| SnapshotError::Import { path: path.to_owned(), source };
    let mut importer = Importer::default();
    for record in chunks.into_iter().flatten() {
        importer.push(record).map_err(failed)?;
    }
    importer.finish().map_err(failed)
}

fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*len) as usize)
}

/// Reads frames and checks them; the digest and the count when the trailer comes.
struct Reader<R> {
    path: PathBuf,
    file: R,
    header: Header,
    check: Check,
    hasher: Sha256,
    records: u64,
    bytes: u64,
    trailer: Option<Trailer>,
}

impl Reader<BufReader<File>> {
    fn open(path: &Path, check: Check) -> Result<Self, SnapshotError> {
        let file = File::open(path).map_err(|source| SnapshotError::Io { path: path.to_owned(), source })?;
        Self::of(path, BufReader::with_capacity(CHUNK_BYTES * 2, file), check)
    }
}

impl<R: Read> Reader<R> {
    /// Reads what stands before the records; `path` is what errors name.
    fn of(path: &Path, mut file: R, check: Check) -> Result<Self, SnapshotError> {
        let io_failed = |source| SnapshotError::Io { path: path.to_owned(), source };
        let mut magic = [0; MAGIC.len()];
        match file.read_exact(&mut magic) {
            Ok(()) if magic == *MAGIC => {}
            Ok(()) => return Err(SnapshotError::NotASnapshot(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(SnapshotError::NotASnapshot(path.to_owned()));
            }
            Err(error) => return Err(io_failed(error)),
        }
        let frame = read_frame(&mut file, path)?;
        let header = codec::decode(Kind::SnapshotHeader, &frame)
            .map_err(|source| SnapshotError::Codec { path: path.to_owned(), source })?;
        let bytes = (MAGIC.len() + 8 + frame.len()) as u64;
        let hasher = Sha256::new();
        Ok(Self { path: path.to_owned(), file, header, check, hasher, records: 0, bytes, trailer: None })
    }

    /// The records of the next chunk; `None` after the last, when the trailer fits.
    fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, SnapshotError> {
        if self.trailer.is_some() {
            return Ok(None);
        }
        let mut frame = read_frame(&mut self.file, &self.path)?;
        self.bytes += 8 + frame.len() as u64;
        match codec::body(Kind::SnapshotChunk, &frame) {
            Ok(records) => {
                if self.check == Check::Digest {
                    self.hasher.update(records);
                }
                let mut rest = records;
                while !rest.is_empty() {
                    rest = split_record(rest).ok_or_else(|| self.damaged("a record runs past its chunk"))?.1;
                    self.records += 1;
                }
                frame.drain(..2);
                Ok(Some(frame))
            }
            Err(CodecError::Kind { found, .. }) if found == Kind::SnapshotTrailer as u8 => {
                self.finish(&frame)?;
                Ok(None)
            }
            Err(source) => Err(SnapshotError::Codec { path: self.path.clone(), source }),
        }
    }

    fn finish(&mut self, frame: &[u8]) -> Result<(), SnapshotError> {
        let trailer: Trailer = codec::decode(Kind::SnapshotTrailer, frame)
            .map_err(|source| SnapshotError::Codec { path: self.path.clone(), source })?;
        if trailer.records != self.records {
            return Err(self.damaged("the number of records differs from what its end says"));
        }
        if self.check == Check::Digest && trailer.digest != <[u8; 32]>::from(self.hasher.finalize_reset()) {
            return Err(self.damaged("the digest of its records differs from what its end says"));
        }
        let mut after = [0];
        match self.file.read(&mut after) {
            Ok(0) => {}
            Ok(_) => return Err(self.damaged("there are bytes after its end")),
            Err(source) => return Err(SnapshotError::Io { path: self.path.clone(), source }),
        }
        self.trailer = Some(trailer);
        Ok(())
    }

    fn damaged(&self, problem: &str) -> SnapshotError {
        SnapshotError::Damaged { path: self.path.clone(), problem: problem.to_owned() }
    }

    fn info(&self) -> Result<SnapshotInfo, SnapshotError> {
        let trailer = self.trailer.as_ref().ok_or_else(|| self.damaged("it has no end"))?;
        Ok(info_of(&self.header, trailer, self.bytes))
    }
}

fn read_frame(file: &mut impl Read, path: &Path) -> Result<Vec<u8>, SnapshotError> {
    let damaged = |problem: String| SnapshotError::Damaged { path: path.to_owned(), problem };
    let read_failed = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged("it is cut".to_owned()),
        _ => SnapshotError::Io { path: path.to_owned(), source: error },
    };
    let mut word = [0; 4];
    file.read_exact(&mut word).map_err(read_failed)?;
    let len = u32::from_le_bytes(word);
    file.read_exact(&mut word).map_err(read_failed)?;
    let crc = u32::from_le_bytes(word);
    if len > FRAME_BYTES_MAX {
        return Err(damaged(format!("a frame claims {len} bytes")));
    }
    let mut payload = Vec::with_capacity(len as usize);
    file.take(u64::from(len)).read_to_end(&mut payload).map_err(read_failed)?;
    if payload.len() < len as usize {
        return Err(damaged("it is cut".to_owned()));
    }
    if crc32fast::hash(&payload) != crc {
        return Err(damaged("checksum mismatch".to_owned()));
    }
    Ok(payload)
}

#[cfg(test)]
mod tests;

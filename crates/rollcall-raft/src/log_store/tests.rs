//! The storage suite of openraft, and a log damaged at every byte of its last records.

use std::fs;
use std::path::PathBuf;

use openraft::EntryPayload;
use openraft::storage::RaftLogStorageExt;
use openraft::testing::log::{StoreBuilder, Suite};
use rollcall_catalog::{Actor, Command, Precondition, Request, RequestId};
use rollcall_types::{ActorName, KvKey, NodeName, UnixMillis};
use tempfile::TempDir;

use super::*;
use crate::proposal::Proposal;
use crate::state_machine::StateMachine;

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), openraft::StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let log = LogStore::open(&dir.path().join("log")).unwrap();
        let machine = StateMachine::for_test(&dir.path().join("snapshots"));
        Ok((dir, log, machine))
    }
}

#[test]
fn the_storage_suite_of_openraft_passes() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(Suite::test_all(Builder)).unwrap();
}

fn request(index: u64, value_len: usize) -> Request {
    Request {
        id: Some(RequestId::Sequence { client: "1/abc".into(), sequence: index, acknowledged_below: index }),
        at: UnixMillis::new(1_700_000_000_000 + index),
        actor: Actor { name: ActorName::try_from("test").unwrap(), via: NodeName::try_from("n1").unwrap() },
        command: Command::KvPut {
            key: KvKey::try_from("key").unwrap(),
            value: vec![0xAB; value_len].into(),
            flags: 0,
            expect: Precondition::None,
        },
    }
}

fn entry(index: u64, value_len: usize) -> Entry {
    let log_id = LogId::new_term_index(1, index);
    Entry { log_id, payload: EntryPayload::Normal(Proposal::new(&request(index, value_len)).unwrap()) }
}

/// A log of entries `0..lens.len()`; returns its directory, its newest file, and where each entry ends in it.
async fn sample(lens: &[usize]) -> (TempDir, PathBuf, Vec<usize>) {
    let dir = tempfile::tempdir().unwrap();
    let mut log = LogStore::open(dir.path()).unwrap();
    let file =
        || fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).find(|p| p.extension().is_some()).unwrap();
    let mut ends = Vec::new();
    for (index, len) in lens.iter().enumerate() {
        log.blocking_append([entry(index as u64, *len)]).await.unwrap();
        ends.push(fs::metadata(file()).unwrap().len() as usize);
    }
    let file = file();
    drop(log);
    (dir, file, ends)
}

async fn indexes(dir: &Path) -> Result<u64, Error> {
    let mut log = LogStore::open(dir)?;
    let entries = log.try_get_log_entries(..).await.unwrap();
    for (index, entry) in entries.iter().enumerate() {
        assert_eq!(entry.log_id.index, index as u64);
    }
    Ok(entries.len() as u64)
}

#[tokio::test]
async fn entries_read_back_after_a_restart_are_those_that_were_appended() {
    let (dir, ..) = sample(&[10, 2_000]).await;
    let mut log = LogStore::open(dir.path()).unwrap();
    assert_eq!(log.try_get_log_entries(..).await.unwrap(), [entry(0, 10), entry(1, 2_000)]);
}

/// Copies the log with `change` made to its file.
fn changed(file: &Path, change: impl FnOnce(&mut Vec<u8>)) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = fs::read(file).unwrap();
    change(&mut bytes);
    fs::write(dir.path().join(file.file_name().unwrap()), bytes).unwrap();
    dir
}

#[tokio::test]
async fn a_log_cut_anywhere_in_its_last_records_opens_with_the_whole_ones() {
    let (_dir, file, ends) = sample(&[10, 700, 40, 30]).await;
    for cut in ends[1]..ends[3] {
        let dir = changed(&file, |bytes| bytes.truncate(cut));
        let whole = ends.iter().filter(|end| **end <= cut).count() as u64;
        assert_eq!(indexes(dir.path()).await.unwrap(), whole, "cut at {cut}");
    }
}

#[tokio::test]
async fn a_log_whose_tail_is_zero_opens_with_the_records_before_it() {
    let (_dir, file, ends) = sample(&[10, 700, 40, 30]).await;
    for from in ends[2]..ends[3] {
        // Zero to the end of the file and to the end of the block that the file system would have added.
        for len in [ends[3], ends[3].next_multiple_of(4096)] {
            let dir = changed(&file, |bytes| {
                bytes[from..].fill(0);
                bytes.resize(len, 0);
            });
            match indexes(dir.path()).await {
                Ok(count) => assert_eq!(count, 3, "zero from {from}"),
                // A record that lacks only bytes of its checksum was no unwritten sector: refused.
                Err(error) => assert!(from > ends[3] - 4, "zero from {from}: {error}"),
            }
        }
    }
}

const SECTOR_FOR_TEST: usize = 512;

#[tokio::test]
async fn a_last_record_with_a_zero_sector_is_cut_off() {
    let (_dir, file, ends) = sample(&[10, 2000]).await;
    let first = ends[0].next_multiple_of(SECTOR_FOR_TEST);
    for sector in (first..ends[1]).step_by(SECTOR_FOR_TEST) {
        let dir = changed(&file, |bytes| {
            let end = bytes.len().min(sector + SECTOR_FOR_TEST);
            bytes[sector..end].fill(0);
        });
        assert_eq!(indexes(dir.path()).await.unwrap(), 1, "sector at {sector}");
    }
}

#[tokio::test]
async fn a_byte_flipped_anywhere_is_refused_or_costs_only_the_last_record() {
    let (_dir, file, ends) = sample(&[10, 40, 30, 50]).await;
    for at in 0..ends[3] {
        let dir = changed(&file, |bytes| bytes[at] ^= 0x40);
        match indexes(dir.path()).await {
            Ok(count) => assert!(count == 3 && at >= ends[2], "byte {at} flipped, {count} entries left"),
            Err(Error::CorruptLog { path, offset, .. }) => {
                assert_eq!(path.file_name(), file.file_name());
                assert!(offset as usize <= at, "byte {at} flipped, reported at {offset}");
            }
            Err(error) => panic!("byte {at} flipped: {error}"),
        }
    }
}

/// A payload length with which a record of `sample` ends at `end` within a sector.
async fn len_that_ends_at(end: usize) -> usize {
    let (_dir, _, ends) = sample(&[300]).await;
    300 + (end + SECTOR_FOR_TEST - ends[0] % SECTOR_FOR_TEST) % SECTOR_FOR_TEST
}

#[tokio::test]
async fn a_flipped_byte_is_refused_though_its_record_begins_with_zeros_at_the_end_of_a_sector() {
    let len = len_that_ends_at(SECTOR_FOR_TEST - 2).await;
    for behind in [&[][..], &[40, 30]] {
        let (_dir, file, ends) = sample(&[&[len, 200], behind].concat()).await;
        assert_eq!(ends[0] % SECTOR_FOR_TEST, SECTOR_FOR_TEST - 2);
        let dir = changed(&file, |bytes| bytes[ends[1] - 20] ^= 0x40);
        let refused = indexes(dir.path()).await;
        assert!(matches!(refused, Err(Error::CorruptLog { .. })), "{} behind: {refused:?}", behind.len());
    }
}

#[tokio::test]
async fn a_zero_sector_with_good_records_behind_it_is_refused() {
    let (_dir, file, ends) = sample(&[10, 2000, 40]).await;
    let sector = ends[0].next_multiple_of(SECTOR_FOR_TEST);
    let dir = changed(&file, |bytes| bytes[sector..sector + SECTOR_FOR_TEST].fill(0));
    let refused = indexes(dir.path()).await;
    assert!(matches!(refused, Err(Error::CorruptLog { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_crash_while_one_file_follows_another_costs_only_what_was_unfinished() {
    let (_dir, file, ends) = sample(&[10, 700, 40]).await;
    // raft-log names a file after the bytes of the log before it.
    let next = raft_log::chunked_wal::Config::chunk_file_name(raft_log::ChunkId(ends[2] as u64));
    let without_first_sector = [vec![0; SECTOR_FOR_TEST], vec![0xAB; 4096 - SECTOR_FOR_TEST]].concat();
    for (len, whole) in [(ends[2], 3), (ends[2] - 7, 2)] {
        for newest in [vec![], vec![0; 4096], without_first_sector.clone()] {
            let dir = changed(&file, |bytes| bytes.truncate(len));
            fs::write(dir.path().join(&next), &newest).unwrap();
            let opened = indexes(dir.path()).await;
            assert_eq!(opened.unwrap(), whole, "{} bytes in the newest file", newest.len());
        }
    }
}

#[tokio::test]
async fn damage_in_an_older_file_is_refused_with_its_name_and_offset() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = LogStore::open(dir.path()).unwrap();
    for index in 0..40 {
        log.blocking_append([entry(index, 256 << 10)]).await.unwrap();
    }
    drop(log);
    let files = {
        let mut files: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some());
        files.sort();
        files
    };
    assert!(files.len() > 1, "the sample must span files");
    let mut bytes = fs::read(&files[0]).unwrap();
    bytes[1 << 20] ^= 1;
    fs::write(&files[0], bytes).unwrap();
    match LogStore::open(dir.path()).map(drop) {
        Err(Error::CorruptLog { path, offset, .. }) => {
            assert_eq!(path, files[0]);
            assert!(offset <= 1 << 20);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_was_acknowledged_before_a_repair_is_still_there_after_it() {
    let (_dir, file, ends) = sample(&[10, 20, 30]).await;
    let dir = changed(&file, |bytes| bytes.truncate(ends[2] - 1));
    let mut log = LogStore::open(dir.path()).unwrap();
    log.blocking_append([entry(2, 5)]).await.unwrap();
    drop(log);
    assert_eq!(indexes(dir.path()).await.unwrap(), 3);
}

#[tokio::test]
async fn reads_are_bounded_in_bytes_and_never_empty() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = LogStore::open(dir.path()).unwrap();
    log.blocking_append((0..8).map(|index| entry(index, 1 << 20))).await.unwrap();
    assert_eq!(log.limited_get_log_entries(0, 8).await.unwrap().len(), 2);
    assert_eq!(log.limited_get_log_entries(7, 8).await.unwrap().len(), 1);
    assert!(log.limited_get_log_entries(8, 9).await.is_err());
}

#[tokio::test]
async fn a_log_that_begins_after_a_snapshot_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogStore::open(dir.path()).unwrap();
    assert!(log.is_pristine());
    let last = LogId::new_term_index(3, 41);
    log.begin_after(last, Vote::new(3, 1)).unwrap();
    drop(log);
    let mut log = LogStore::open(dir.path()).unwrap();
    assert!(!log.is_pristine());
    let state = log.get_log_state().await.unwrap();
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(last), Some(last)));
    let next = Entry { log_id: LogId::new_term_index(4, 42), payload: EntryPayload::Blank };
    log.blocking_append([next]).await.unwrap();
}

#[tokio::test]
async fn how_large_a_log_is_does_not_keep_it_open() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = LogStore::open(dir.path()).unwrap();
    let size = log.size();
    let mib = || size.bytes() >> 20;
    log.blocking_append((0..12).map(|index| entry(index, 1 << 20))).await.unwrap();
    assert_eq!(mib(), 12);
    log.purge(entry(9, 0).log_id).await.unwrap();
    assert!((2..12).contains(&mib()), "whole files go, and {} MiB stay", mib());
    let closing = log.closing();
    drop(log);
    closing.closed().await;
    assert_eq!(size.bytes(), 0);
}

//! Snapshots: there and back, and damaged at every byte.

use std::fs;

use rollcall_catalog::{Actor, Command, Precondition, Request};
use rollcall_types::{ActorName, KvKey, NodeName, Revision, UnixMillis};

use super::*;
use crate::types::{LogId, StoredMembership};

const CLUSTER: ClusterId = ClusterId::new(0xC0FFEE);

fn catalog(keys: u64, value_len: usize) -> Catalog {
    let mut catalog = Catalog::default();
    for index in 1..=keys {
        let request = Request {
            id: None,
            at: UnixMillis::new(index),
            actor: Actor { name: ActorName::try_from("test").unwrap(), via: NodeName::try_from("n1").unwrap() },
            command: Command::KvPut {
                key: KvKey::try_from(&*format!("key-{index}")).unwrap(),
                value: vec![index as u8; value_len].into(),
                flags: 0,
                expect: Precondition::None,
            },
        };
        catalog.apply(Revision::new(index), &request);
    }
    catalog
}

fn header(catalog: &Catalog) -> Header {
    let last = LogId::new_term_index(3, catalog.revision().get());
    let meta = SnapshotMeta { last_log_id: Some(last), last_membership: StoredMembership::default() };
    Header { cluster: CLUSTER, meta }
}

#[test]
fn a_snapshot_reads_back_equal() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.snap");
    let original = catalog(3_000, 200);
    let written = write(&path, &header(&original), &original).unwrap();
    let (read_header, read, info) = load(&path, Check::Digest).unwrap();
    assert_eq!(read_header, header(&original));
    assert_eq!(read, original);
    assert_eq!((info.index, info.term, info.cluster_id), (3_000, 3, CLUSTER));
    assert_eq!(info, written);
    assert_eq!(info, inspect(&path).unwrap());
    assert_eq!(info.bytes, fs::metadata(&path).unwrap().len());
    assert_eq!(info.digest, digest(&original).unwrap());
    assert!(!path.with_extension("tmp").exists());
}

/// `golden.snap` was written by an earlier build. To accept a deliberate change, see the golden bytes of the codec.
#[test]
fn a_snapshot_of_an_earlier_build_is_read_and_the_same_would_be_written() {
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/snapshot/golden.snap");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.snap");
    let original = catalog(3, 5);
    write(&path, &header(&original), &original).unwrap();
    if std::env::var_os("ROLLCALL_BLESS").is_some() {
        fs::copy(&path, &golden).unwrap();
    }
    assert_eq!(fs::read(&path).unwrap(), fs::read(&golden).unwrap());
    let (read_header, read, _) = load(&golden, Check::Digest).unwrap();
    assert_eq!((read_header, read), (header(&original), original));
}

#[test]
fn the_digest_covers_the_catalogue_only() {
    let dir = tempfile::tempdir().unwrap();
    let original = catalog(10, 10);
    let mut other = header(&original);
    other.cluster = ClusterId::new(1);
    other.meta.last_log_id = Some(LogId::new_term_index(9, 10));
    let first = write(&dir.path().join("a.snap"), &header(&original), &original).unwrap();
    let second = write(&dir.path().join("b.snap"), &other, &original).unwrap();
    assert_eq!(first.digest, second.digest);
    assert_ne!(first.digest, digest(&catalog(10, 11)).unwrap());
}

#[test]
fn a_snapshot_damaged_or_cut_anywhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.snap");
    let original = catalog(5, 20);
    write(&path, &header(&original), &original).unwrap();
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(&path, &bytes).unwrap();
        assert!(load(&path, Check::Digest).is_err(), "byte {at} flipped");
        assert!(load(&path, Check::Checksums).is_err(), "byte {at} flipped");
        assert!(inspect(&path).is_err(), "byte {at} flipped");
        fs::write(&path, &whole[..at]).unwrap();
        assert!(load(&path, Check::Digest).is_err(), "cut at {at}");
    }
    let mut longer = whole;
    longer.push(0);
    fs::write(&path, longer).unwrap();
    assert!(load(&path, Check::Digest).is_err(), "a byte too many");
}

#[test]
fn a_catalogue_that_does_not_fit_its_header_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.snap");
    let original = catalog(5, 20);
    write(&path, &header(&catalog(6, 20)), &original).unwrap();
    assert!(matches!(load(&path, Check::Digest), Err(SnapshotError::Damaged { .. })));
}

#[test]
fn the_store_keeps_the_newest_and_falls_back_over_a_damaged_one() {
    let dir = tempfile::tempdir().unwrap();
    let (store, none) = SnapshotStore::open(dir.path(), CLUSTER).unwrap();
    assert!(none.is_none());
    let first = catalog(5, 20);
    store.write(header(&first).meta, &first).unwrap();
    let kept = fs::read(&store.current().unwrap().path).unwrap();
    let first_path = store.current().unwrap().path.clone();
    let second = catalog(9, 20);
    store.write(header(&second).meta, &second).unwrap();
    assert!(!first_path.exists(), "older snapshots go");

    fs::write(&first_path, kept).unwrap();
    fs::write(dir.path().join("incoming-1.tmp"), b"half").unwrap();
    let mut damaged = fs::read(&store.current().unwrap().path).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&store.current().unwrap().path, damaged).unwrap();
    let (reopened, loaded) = SnapshotStore::open(dir.path(), CLUSTER).unwrap();
    assert_eq!(loaded.unwrap().1, first);
    assert_eq!(reopened.current().unwrap().info.index, 5);
    assert!(!dir.path().join("incoming-1.tmp").exists());
}

#[test]
fn a_record_that_could_not_be_read_back_is_not_written_and_the_snapshot_before_it_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = SnapshotStore::open(dir.path(), CLUSTER).unwrap();
    let kept = catalog(5, 20);
    store.write(header(&kept).meta, &kept).unwrap();
    let oversized = catalog(6, RECORD_BYTES_MAX);
    let refused = write(&dir.path().join("b.snap"), &header(&oversized), &oversized).unwrap_err();
    assert!(matches!(refused, SnapshotError::Codec { source: CodecError::TooLarge(_), .. }), "{refused}");
    assert!(store.write(header(&oversized).meta, &oversized).is_err());
    assert!(digest(&oversized).is_err());
    let (reopened, loaded) = SnapshotStore::open(dir.path(), CLUSTER).unwrap();
    assert_eq!((reopened.current().unwrap().info.index, loaded.unwrap().1), (5, kept));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing half is left");
}

#[test]
fn a_snapshot_built_late_leaves_the_newer_one_that_was_received_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = SnapshotStore::open(dir.path(), CLUSTER).unwrap();
    let (built, received) = (catalog(5, 20), catalog(9, 20));
    let file = store.incoming();
    let info = write(&file.with_extension("snap"), &header(&received), &received).unwrap();
    fs::rename(file.with_extension("snap"), &file).unwrap();
    store.install(&file, header(&received).meta, info).unwrap();
    store.write(header(&built).meta, &built).unwrap();
    assert_eq!(store.current().unwrap().info.index, 9);
    assert!(store.current().unwrap().path.exists());
    let (_, loaded) = SnapshotStore::open(dir.path(), CLUSTER).unwrap();
    assert_eq!(loaded.unwrap().1, received);
}

#[test]
fn snapshots_built_and_received_at_once_never_remove_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = SnapshotStore::open(dir.path(), CLUSTER).unwrap();
    for round in 1..20 {
        let (built, received) = (catalog(2 * round, 5), catalog(2 * round + 1, 5));
        let staged = dir.path().join("staged");
        let info = write(&staged, &header(&received), &received).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| store.write(header(&built).meta, &built).unwrap());
            scope.spawn(|| store.install(&staged, header(&received).meta, info).unwrap());
        });
        let current = store.current().unwrap();
        assert_eq!(current.info.index, 2 * round + 1);
        assert!(current.path.exists(), "round {round}");
    }
}

#[test]
fn a_snapshot_of_another_cluster_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = SnapshotStore::open(dir.path(), CLUSTER).unwrap();
    let original = catalog(5, 20);
    store.write(header(&original).meta, &original).unwrap();
    let refused = SnapshotStore::open(dir.path(), ClusterId::new(1)).unwrap_err();
    assert!(matches!(refused, crate::Error::Snapshot(SnapshotError::ForeignCluster { .. })), "{refused}");
}

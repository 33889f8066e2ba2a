//! The cases of bad input and faults, by their numbers and words, each in its parts, and what shows each part: a test of
//! ours (`FILE::NAME`), or a flawed or odd package of the fixtures, which `flawed` feeds to the binary. Owns the list
//! and holds it to what is there; must not know how anything is tested.

use std::collections::BTreeSet;
use std::path::Path;

use crate::shared::shared;

/// A case: its number, its text, and its parts, each with what shows it.
type Case = (u32, &'static str, &'static [(&'static str, &'static str)]);

#[rustfmt::skip]
const CASES: [Case; 31] = [
    (1, "Empty file, text file, truncated at any byte, random bytes, one flipped bit: refuse (a flip past `info/` may pass without `--check-archives`).", &[
        ("Empty file", "fixtures/flawed/empty"),
        ("text file", "fixtures/flawed/text-file"),
        ("truncated at any byte", "src/package/tests.rs::every_cut_is_refused"),
        ("truncated at any byte", "tests/faults/flawed.rs::a_package_cut_off_anywhere_is_refused_or_as_it_was"),
        ("random bytes", "fixtures/flawed/random-bytes"),
        ("random bytes", "tests/faults/archives.rs::random_bytes_behind_every_magic_are_refused"),
        ("one flipped bit", "src/package/tests.rs::every_flipped_bit_is_refused_or_changes_nothing"),
        ("one flipped bit", "fixtures/flawed/flipped-bit-tar-bz2"),
        ("a flip past `info/`", "tests/faults/signatures.rs::a_byte_that_changed_past_info_after_it_was_signed_is_invalid"),
        ("refuse", "tests/faults/flawed.rs::every_flawed_package_is_refused_and_the_others_are_published"),
        ("refuse", "tests/faults/flawed.rs::with_strict_every_flaw_publishes_nothing"),
        ("refuse", "tests/faults/mutants.rs::mutants_are_listed_or_refused_and_nothing_breaks"),
        ("`--check-archives`", "tests/faults/mutants.rs::mutants_are_listed_or_refused_when_archives_are_checked"),
    ]),
    (2, "A .conda named .tar.bz2 and the other way round: refuse, saying what it really is.", &[
        ("A .conda named .tar.bz2", "fixtures/flawed/conda-named-tar-bz2"),
        ("the other way round", "fixtures/flawed/tar-bz2-named-conda"),
        ("saying what it really is", "tests/faults/flawed.rs::the_reason_says_what_is_wrong"),
    ]),
    (3, "Several bz2 streams in a row: read as one. Bytes behind the end: refuse with `--check-archives`.", &[
        ("Several bz2 streams in a row", "fixtures/odd/two-bz2-streams"),
        ("read as one", "tests/faults/flawed.rs::what_is_odd_and_valid_is_listed"),
        ("Several bz2 streams in a row", "tests/faults/archives.rs::what_is_wrong_with_bzip2_is_refused_and_streams_of_nothing_take_no_time"),
        ("Bytes behind the end", "fixtures/flawed-checked/bytes-behind-the-end"),
        ("refuse with `--check-archives`", "tests/faults/flawed.rs::what_hides_behind_the_metadata_is_refused_when_archives_are_checked"),
    ]),
    (4, "A bomb (bz2, zstd, a zstd window of gigabytes, a 10 GB index.json): refuse at a cap (`index.json` 16 MiB, any other info member 64 MiB), memory flat.", &[
        ("A bomb (bz2, zstd", "tests/faults/bombs.rs::packages_that_become_large_are_refused_in_flat_memory"),
        ("A bomb (bz2, zstd", "tests/faults/bombs.rs::payloads_that_become_large_are_refused_when_they_are_looked_into"),
        ("a zstd window of gigabytes", "fixtures/flawed/conda-zstd-window-of-2-gib"),
        ("a zstd window of gigabytes", "tests/faults/archives.rs::what_is_wrong_with_zstd_is_refused_and_frames_of_nothing_are_nothing"),
        ("a 10 GB index.json", "tests/faults/bombs.rs::packages_that_become_large_are_refused_in_flat_memory"),
        ("`index.json` 16 MiB", "tests/faults/flawed.rs::metadata_beyond_its_cap_is_refused"),
        ("any other info member 64 MiB", "src/package/tests.rs::each_flaw_is_refused_in_words"),
        ("memory flat", "tests/faults/bombs.rs::documents_that_become_large_are_refused_or_passed_over"),
        ("memory flat", "tests/faults/bombs.rs::dependencies_that_name_many_versions_are_listed_in_flat_memory"),
    ]),
    (5, "ZIP whose central and local headers differ, overlapping or duplicate or encrypted or deflated members, zip64: refuse what is inconsistent; read what is valid.", &[
        ("central and local headers differ", "fixtures/flawed/conda-local-central-differ"),
        ("central and local headers differ", "fixtures/flawed/conda-local-central-sizes-differ"),
        ("central and local headers differ", "tests/faults/archives.rs::every_two_bytes_of_a_zips_headers_may_be_zero_one_or_full"),
        ("overlapping", "fixtures/flawed/conda-overlapping-members"),
        ("duplicate", "fixtures/flawed/conda-duplicate-member"),
        ("encrypted", "fixtures/flawed/conda-encrypted-flag"),
        ("deflated members", "fixtures/flawed/conda-deflated-member"),
        ("zip64", "fixtures/odd/conda-zip64"),
        ("refuse what is inconsistent", "src/package/tests.rs::each_flaw_is_refused_in_words"),
        ("refuse what is inconsistent", "tests/faults/readers.rs::a_conda_has_no_other_member_that_clients_open_as_a_part"),
        ("read what is valid", "src/package/tests.rs::another_reader_of_zip_agrees"),
    ]),
    (6, "PAX size that differs from ustar size; sparse and GNU long-name members: as `tar` does, or refuse.", &[
        ("PAX size that differs from ustar size", "src/package/tests.rs::good_packages"),
        ("PAX size that differs from ustar size", "src/package/tests.rs::each_flaw_is_refused_in_words"),
        ("sparse", "src/package/tests.rs::each_flaw_is_refused_in_words"),
        ("sparse", "tests/faults/readers.rs::sparse_members_by_extended_headers_are_refused"),
        ("GNU long-name members", "fixtures/odd/gnu-long-name"),
        ("as `tar` does, or refuse", "tests/faults/readers.rs::sizes_are_numbers_that_all_readers_take_alike"),
        ("as `tar` does, or refuse", "tests/faults/readers.rs::the_checksum_of_a_header_is_a_number_that_all_readers_take_alike"),
        ("GNU long-name members", "tests/faults/readers.rs::nothing_stands_behind_what_describes_the_next_member"),
        ("GNU long-name members", "tests/faults/readers.rs::what_describes_members_is_no_member_to_anybody"),
        ("as `tar` does, or refuse", "tests/faults/readers.rs::a_name_is_in_two_halves_in_ustar_headers_alone"),
        ("as `tar` does, or refuse", "tests/faults/archives.rs::every_size_in_a_tar_is_as_tar_reads_it_or_refused"),
        ("as `tar` does, or refuse", "tests/faults/archives.rs::every_other_number_in_a_tar_is_as_tar_reads_it_or_refused"),
        ("as `tar` does, or refuse", "tests/faults/archives.rs::every_name_in_a_tar_is_as_tar_reads_it_or_refused"),
    ]),
    (7, "No `info/index.json`; two of them (before the stop, or anywhere with `--check-archives`); one that is a symlink, hard link, device or folder: refuse.", &[
        ("No `info/index.json`", "fixtures/flawed/no-index-json"),
        ("two of them", "fixtures/flawed/two-index-json"),
        ("two of them", "fixtures/flawed/two-index-json-one-dotted"),
        ("anywhere with `--check-archives`", "fixtures/flawed-checked/second-index-json-at-the-end"),
        ("two of them", "tests/faults/readers.rs::no_member_lies_beneath_a_link"),
        ("a symlink", "fixtures/flawed/index-json-is-symlink"),
        ("a symlink", "tests/faults/readers.rs::info_is_a_folder_and_nothing_else"),
        ("hard link", "fixtures/flawed/index-json-is-hard-link"),
        ("device", "fixtures/flawed/index-json-is-device"),
        ("device", "fixtures/flawed/index-json-is-fifo"),
        ("folder", "fixtures/flawed/index-json-is-folder"),
    ]),
    (8, "`../x` or `/x` members: never written anywhere; refused with `--check-archives`.", &[
        ("`../x`", "fixtures/flawed-checked/path-leaves-folder"),
        ("`../x`", "fixtures/flawed-checked/path-leaves-folder-inside"),
        ("`/x`", "fixtures/flawed-checked/path-absolute"),
        ("never written anywhere", "tests/faults/flawed.rs::what_hides_behind_the_metadata_is_refused_when_archives_are_checked"),
    ]),
    (9, "Not JSON, not UTF-8, a BOM, NaN, a lone surrogate, an array, nested 100,000 deep, duplicate keys: refuse.", &[
        ("Not JSON", "fixtures/flawed/index-json-not-json"),
        ("Not JSON", "fixtures/flawed/index-json-cut-off"),
        ("Not JSON", "fixtures/flawed/index-json-trailing-junk"),
        ("not UTF-8", "fixtures/flawed/index-json-not-utf8"),
        ("not UTF-8", "fixtures/flawed/index-json-utf16"),
        ("a BOM", "fixtures/flawed/index-json-bom"),
        ("NaN", "fixtures/flawed/index-json-nan"),
        ("NaN", "fixtures/flawed/index-json-infinity"),
        ("a lone surrogate", "fixtures/flawed/index-json-lone-surrogate"),
        ("an array", "fixtures/flawed/index-json-array"),
        ("nested 100,000 deep", "fixtures/flawed/index-json-deep"),
        ("nested 100,000 deep", "tests/faults/bombs.rs::metadata_that_becomes_large_is_refused_or_listed"),
        ("duplicate keys", "fixtures/flawed/duplicate-keys"),
        ("duplicate keys", "fixtures/flawed/duplicate-keys-nested"),
    ]),
    (10, "`name`, `version`, `build` missing, of another type, with `/`, control or bidi characters: refuse.", &[
        ("missing", "fixtures/flawed/name-missing"),
        ("of another type", "fixtures/flawed/name-not-a-string"),
        ("of another type", "fixtures/flawed/name-null"),
        ("with `/`", "fixtures/flawed/name-with-slash"),
        ("control", "fixtures/flawed/name-with-control"),
        ("control", "fixtures/flawed/name-with-newline"),
        ("bidi characters", "fixtures/flawed/name-with-bidi"),
        ("missing", "fixtures/flawed/version-missing"),
        ("of another type", "fixtures/flawed/version-not-a-string"),
        ("of another type", "fixtures/flawed/version-null"),
        ("with `/`", "fixtures/flawed/version-with-slash"),
        ("control", "fixtures/flawed/version-with-control"),
        ("control", "fixtures/flawed/version-with-newline"),
        ("bidi characters", "fixtures/flawed/version-with-bidi"),
        ("missing", "fixtures/flawed/build-missing"),
        ("of another type", "fixtures/flawed/build-not-a-string"),
        ("of another type", "fixtures/flawed/build-null"),
        ("with `/`", "fixtures/flawed/build-with-slash"),
        ("control", "fixtures/flawed/build-with-control"),
        ("control", "fixtures/flawed/build-with-newline"),
        ("bidi characters", "fixtures/flawed/build-with-bidi"),
        ("bidi characters", "tests/faults/metadata.rs::names_that_no_record_may_have_are_refused_whatever_is_allowed"),
    ]),
    (11, "Metadata that does not match the filename `name-version-build`, or a `subdir` that is there and is not the folder's name: refuse; `--allow-mismatch` lists it.", &[
        ("does not match the filename", "fixtures/flawed/name-mismatch"),
        ("does not match the filename", "fixtures/flawed/version-mismatch"),
        ("does not match the filename", "fixtures/flawed/build-mismatch"),
        ("does not match the filename", "tests/faults/metadata.rs::a_dash_in_a_version_or_build_is_a_mismatch"),
        ("a `subdir` that is there", "fixtures/flawed/subdir-mismatch"),
        ("refuse", "tests/faults/metadata.rs::a_mismatch_of_every_kind_is_refused_and_listed_on_demand"),
        ("`--allow-mismatch` lists it", "tests/index/folder.rs::metadata_that_contradicts_its_place_is_listed_on_demand"),
    ]),
    (12, "`timestamp` in the future or negative, huge integers, `size` that lies: kept or overwritten as contract.md says, never a crash; a future timestamp is a warning.", &[
        ("`timestamp` in the future", "fixtures/odd/timestamp-future"),
        ("negative", "fixtures/odd/timestamp-negative"),
        ("huge integers", "fixtures/odd/timestamp-huge"),
        ("`size` that lies", "fixtures/odd/size-and-hashes-that-lie"),
        ("kept or overwritten", "tests/faults/metadata.rs::odd_values_are_kept_and_those_of_the_index_are_its_own"),
        ("a future timestamp is a warning", "tests/faults/flawed.rs::what_is_odd_and_valid_is_listed"),
    ]),
    (13, "Two files whose names differ in case alone: refuse the later one.", &[
        ("differ in case alone", "tests/index/folder.rs::of_names_that_differ_in_case_alone_the_later_is_refused"),
    ]),
    (14, "FIFO, socket, device, folder named `x.conda`: skipped with a warning, no hang. Dotfiles, `.part`, `.tmp`: ignored.", &[
        ("FIFO, socket", "tests/index/folder.rs::what_is_no_plain_file_is_skipped_with_a_warning"),
        ("device", "tests/faults/folder.rs::a_device_is_skipped_with_a_warning"),
        ("folder named `x.conda`", "tests/index/folder.rs::what_is_no_plain_file_is_skipped_with_a_warning"),
        ("no hang", "src/storage/mod.rs::a_fifo_does_not_hang"),
        ("Dotfiles, `.part`, `.tmp`", "tests/index/folder.rs::what_is_no_plain_file_is_skipped_with_a_warning"),
    ]),
    (15, "Symlinks: to a file inside the channel, followed; out of the channel, dangling, in a loop: refuse. An index, lock or temporary name planted as a symlink: never followed.", &[
        ("to a file inside the channel", "tests/index/folder.rs::links_are_followed_inside_the_channel_only"),
        ("out of the channel, dangling, in a loop", "tests/index/folder.rs::links_are_followed_inside_the_channel_only"),
        ("An index, lock", "tests/index/folder.rs::links_planted_in_the_place_of_what_is_written_are_not_followed"),
        ("lock", "src/storage/mod.rs::a_planted_lock_is_not_followed"),
        ("temporary name", "src/storage/mod.rs::what_is_created_never_replaces"),
        ("never followed", "src/storage/mod.rs::no_write_goes_through_a_linked_folder"),
        ("never followed", "tests/index/folder.rs::a_subdir_that_is_a_link_is_an_error"),
    ]),
    (16, "A package that grows while it is read, vanishes, or is replaced in the run: refuse that one; the index never names bytes that were not read.", &[
        ("grows while it is read", "tests/index/meddler.rs::a_package_that_changes_while_it_is_read_is_refused_alone"),
        ("grows while it is read", "src/package/tests.rs::a_file_that_changes_its_length_is_refused"),
        ("vanishes", "tests/index/meddler.rs::a_package_that_changes_while_it_is_read_is_refused_alone"),
        ("replaced in the run", "tests/index/meddler.rs::a_package_that_changes_while_it_is_read_is_refused_alone"),
        ("bytes that were not read", "src/package/tests.rs::each_byte_is_read_once_and_hashed"),
    ]),
    (17, "Same size and mtime, other bytes: caught by inode or ctime, or by `--rehash`.", &[
        ("Same size and mtime, other bytes", "tests/index/cache.rs::other_bytes_under_the_same_size_and_mtime_are_noticed"),
        ("caught by inode or ctime", "tests/index/cache.rs::a_file_of_another_time_or_inode_is_hashed_again_and_never_signed_again"),
        ("by `--rehash`", "tests/index/cache.rs::rehash_reads_all_whatever_stat_says"),
    ]),
    (18, "Read-only channel, folder without execute permission, path that is a file or does not exist: clear errors. A folder without any subdir is an empty channel: an empty noarch is published, with a warning.", &[
        ("Read-only channel", "tests/faults/folder.rs::a_channel_that_may_not_be_written_or_entered_is_a_clear_error"),
        ("Read-only channel", "tests/index/folder.rs::a_channel_that_cannot_be_written_is_a_clear_error"),
        ("folder without execute permission", "tests/faults/folder.rs::a_channel_that_may_not_be_written_or_entered_is_a_clear_error"),
        ("path that is a file or does not exist", "tests/index/folder.rs::what_is_no_channel_is_named"),
        ("A folder without any subdir", "tests/index/folder.rs::a_folder_without_a_subdir_is_an_empty_channel"),
    ]),
    (19, "100,000 packages, 1,000 subdirs, names of 250 bytes, non-UTF-8 names: works, or refuses by name.", &[
        ("100,000 packages", "tests/faults/folder.rs::very_many_packages_and_subdirs_are_indexed_in_bounded_memory"),
        ("1,000 subdirs", "tests/faults/folder.rs::very_many_packages_and_subdirs_are_indexed_in_bounded_memory"),
        ("names of 250 bytes", "tests/faults/folder.rs::the_longest_names_work_and_longer_ones_are_refused_by_name"),
        ("non-UTF-8 names", "tests/index/folder.rs::names_that_no_index_can_hold_are_refused"),
        ("refuses by name", "tests/faults/bombs.rs::a_report_of_many_refusals_is_no_bomb_either"),
        ("refuses by name", "tests/index/attestations.rs::a_list_whose_immutable_name_is_too_long_refuses_its_package_alone"),
    ]),
    (20, "The cases in `legacy/`: a folder's name says what must come out.", &[
        ("says what must come out", "tests/legacy.rs::the_folders_name_says_what_comes_out"),
        ("`legacy/`", "tests/legacy.rs::each_error_says_which"),
    ]),
    (21, "`.sig` of 0 bytes, 1 GB, a folder, a symlink out of the channel: ERROR, unread past 8 KiB.", &[
        ("0 bytes", "tests/keys/verify.rs::a_sig_file_that_is_none_is_an_error"),
        ("1 GB", "tests/faults/bombs.rs::signatures_and_keys_that_are_large_are_not_read"),
        ("a folder", "tests/keys/verify.rs::a_sig_file_that_is_no_file_is_an_error"),
        ("a symlink out of the channel", "tests/index/states.rs::a_signature_that_is_no_file_is_refused"),
        ("unread past 8 KiB", "tests/faults/operators.rs::a_file_beyond_its_limit_is_refused_by_name_and_limit"),
        ("unread past 8 KiB", "src/sidecar.rs::a_huge_one_is_unread_past_8_kib"),
        ("unread past 8 KiB", "tests/index/states.rs::an_invalid_signature_is_refused_and_never_overwritten"),
    ]),
    (22, "Key names `../x`, `/tmp/x`, with NUL or newline: ERROR before any path is built.", &[
        ("`../x`, `/tmp/x`", "tests/keys/verify.rs::a_sig_file_that_is_none_is_an_error"),
        ("with NUL or newline", "tests/keys/verify.rs::a_sig_file_that_is_none_is_an_error"),
        ("before any path is built", "tests/keys/keygen.rs::a_bad_name_is_refused_before_any_path_is_built"),
    ]),
    (23, "`.pub` that is a private key, of another algorithm, e=1, even modulus, 512 or 32,768 bits, PEM with junk: ERROR that says which.", &[
        ("a private key", "tests/keys/public.rs::a_public_key_that_is_none_is_an_error_that_says_why"),
        ("of another algorithm", "tests/keys/public.rs::a_public_key_that_is_none_is_an_error_that_says_why"),
        ("e=1", "tests/keys/public.rs::a_public_key_that_is_none_is_an_error_that_says_why"),
        ("even modulus", "tests/keys/public.rs::a_public_key_that_is_none_is_an_error_that_says_why"),
        ("512 or 32,768 bits", "tests/keys/public.rs::a_public_key_that_is_none_is_an_error_that_says_why"),
        ("PEM with junk", "tests/keys/public.rs::a_public_key_that_is_none_is_an_error_that_says_why"),
        ("ERROR that says which", "src/keys/public.rs::keys_that_are_refused_say_why"),
    ]),
    (24, "Private key readable by others, owned by another user, not matching its `.pub`, wrong passphrase, no terminal to ask on: Fail.", &[
        ("readable by others", "tests/index/choice_of_key.rs::a_private_key_that_others_can_read_does_not_sign"),
        ("owned by another user", "tests/faults/folder.rs::a_private_key_of_another_user_does_not_sign"),
        ("owned by another user", "src/keys/folder.rs::owners_of_private_keys"),
        ("not matching its `.pub`", "src/keys/folder.rs::the_public_key_beside_it_must_be_its_own"),
        ("wrong passphrase", "tests/legacy.rs::a_wrong_passphrase_signs_nothing"),
        ("wrong passphrase", "tests/index/choice_of_key.rs::an_encrypted_key_signs_with_its_passphrase_only"),
        ("no terminal to ask on", "tests/index/choice_of_key.rs::without_a_terminal_a_passphrase_is_not_waited_for"),
        ("Fail", "tests/faults/bombs.rs::derivations_that_take_years_or_gigabytes_are_not_begun"),
    ]),
    (25, "keygen over an existing name, into a read-only folder, with size 0, 512, 2049, 1000000: Fail, nothing left behind.", &[
        ("over an existing name", "tests/keys/keygen.rs::keygen_never_overwrites"),
        ("into a read-only folder", "tests/faults/folder.rs::keygen_into_a_folder_that_may_not_be_written_leaves_nothing"),
        ("with size 0, 512, 2049, 1000000", "tests/keys/keygen.rs::keygen_refuses_sizes_that_make_no_sense"),
        ("nothing left behind", "src/keys/create.rs::a_failure_leaves_nothing_behind"),
    ]),
    (26, "ENOSPC, EDQUOT, EIO, EMFILE on any write, sync, rename or directory read: Fail; the old index is served.", &[
        ("ENOSPC, EDQUOT, EIO, EMFILE on any write, sync, rename or directory read", "tests/crash/plan.rs::a_fault_at_any_point_leaves_a_whole_channel_that_the_next_run_heals"),
        ("on any write", "tests/faults/run.rs::where_no_file_may_grow_it_fails_and_the_old_index_is_served"),
        ("on any write", "tests/index/mishaps.rs::a_limit_on_the_size_of_files_is_an_error_and_no_death"),
        ("EMFILE", "tests/faults/run.rs::without_open_files_it_fails_and_the_old_index_is_served"),
        ("the old index is served", "src/storage/mod.rs::a_batch_that_fails_in_the_middle_is_undone"),
    ]),
    (27, "SIGKILL at any moment, twice in a row: every file whole, every name in it there, and the next run completes it. SIGINT: stops soon, exit 130, nothing half written.", &[
        ("SIGKILL at any moment", "tests/crash/plan.rs::a_fault_at_any_point_leaves_a_whole_channel_that_the_next_run_heals"),
        ("twice in a row", "tests/crash/plan.rs::a_run_that_is_killed_twice_is_healed"),
        ("every file whole, every name in it there", "tests/crash/power.rs::what_was_not_synced_is_lost_and_the_next_run_heals"),
        ("SIGKILL at any moment, twice in a row", "tests/index/stopping.rs::a_killed_run_is_completed_by_the_next"),
        ("SIGKILL at any moment, twice in a row", "tests/index/mishaps.rs::killed_again_and_again_it_comes_to_its_end"),
        ("the next run completes it", "tests/index/stopping.rs::what_a_killed_run_left_is_cleared_away"),
        ("SIGINT: stops soon, exit 130, nothing half written", "tests/crash/plan.rs::a_fault_at_any_point_leaves_a_whole_channel_that_the_next_run_heals"),
        ("SIGINT: stops soon", "tests/index/stopping.rs::an_interrupted_run_stops_soon_and_publishes_nothing"),
    ]),
    (28, "Two indexers at once: one waits or fails, no package is lost. A dead holder never blocks.", &[
        ("one waits", "tests/index/stopping.rs::with_wait_it_goes_on_when_the_other_is_done"),
        ("fails", "tests/index/stopping.rs::a_second_indexer_fails_and_says_who_holds_the_lock"),
        ("no package is lost", "tests/index/stopping.rs::two_at_once_lose_no_package"),
        ("no package is lost", "tests/races/indexers.rs::two_or_four_indexers_at_once_lose_no_package"),
        ("A dead holder never blocks", "src/storage/mod.rs::one_holds_the_lock_and_a_dead_holder_does_not"),
    ]),
    (29, "The cache corrupt, of a newer version, deleted, on another machine: rebuilt with a note; the same output.", &[
        ("corrupt", "tests/index/cache.rs::corrupt_it_is_rebuilt_with_a_note"),
        ("corrupt", "tests/faults/bombs.rs::a_cache_that_is_none_never_fills_the_memory"),
        ("of a newer version", "tests/index/cache.rs::of_a_newer_version_it_is_rebuilt_with_a_note"),
        ("deleted", "tests/index/cache.rs::lost_it_is_rebuilt_and_the_output_is_the_same"),
        ("on another machine", "tests/index/cache.rs::elsewhere_it_serves_as_well"),
        ("on another machine", "tests/index/cache.rs::mtime_size_is_content_with_another_inode"),
    ]),
    (30, "Clock at 1970, 2106 or going backwards: `indexed_timestamp` never falls for a record; a warning.", &[
        ("1970, 2106", "tests/index/published.rs::a_clock_at_either_end_of_time_is_no_crash"),
        ("going backwards", "tests/index/published.rs::the_time_never_falls_when_the_clock_does"),
        ("1970, 2106", "tests/faults/clock.rs::at_either_end_of_time_it_works_and_a_right_clock_goes_on_from_there"),
        ("going backwards", "tests/faults/clock.rs::where_it_goes_back_a_year_nothing_is_lost_and_no_time_falls"),
        ("going backwards", "tests/faults/clock.rs::a_signed_index_never_goes_down_in_version"),
        ("a warning", "tests/index/ledger.rs::a_clock_that_went_back_is_told_of"),
    ]),
    (31, "stdout closed (`| head -1`), no HOME, a terminal of width 0: no panic.", &[
        ("stdout closed", "tests/index/saying.rs::a_closed_stdout_is_no_failure"),
        ("no HOME", "tests/index/saying.rs::without_a_home_places_can_be_named"),
        ("a terminal of width 0", "tests/faults/run.rs::a_terminal_of_no_width_is_no_panic"),
    ]),
];

/// Other cases of the same kinds.
#[rustfmt::skip]
const OTHERS: [(&str, &str); 14] = [
    ("the habits of network file systems", "tests/crash/network.rs::a_run_lives_with_the_habits_of_network_file_systems"),
    ("an uploader beside an indexer", "tests/races/uploading.rs::an_indexer_beside_an_uploader_names_only_what_was_there"),
    ("a root that was planted", "tests/index/signed.rs::a_root_that_does_not_follow_is_not_taken"),
    ("a re-upload under a published name", "tests/faults/signatures.rs::a_package_that_was_uploaded_again_under_its_name_is_refused_as_changed"),
    ("planted indexes", "tests/faults/bombs.rs::a_planted_index_never_fills_the_memory"),
    ("planted files", "tests/faults/bombs.rs::other_planted_files_never_fill_the_memory"),
    ("audits of bombs", "tests/faults/bombs.rs::an_audit_of_bombs_ends_with_what_is_wrong"),
    ("shards", "tests/faults/bombs.rs::packages_that_find_no_room_in_the_shard_of_their_name_are_refused"),
    ("patches", "tests/faults/bombs.rs::patches_that_become_large_are_refused"),
    ("signed indexes", "tests/faults/bombs.rs::a_planted_signed_index_never_fills_the_memory"),
    ("attestations", "tests/faults/bombs.rs::attestations_that_become_large_refuse_their_package_alone"),
    ("a log of signatures", "tests/faults/folder.rs::a_signing_log_that_may_be_appended_to_and_not_read_is_gone_on_with"),
    ("profiles", "tests/faults/folder.rs::a_profile_that_may_not_be_read_is_none_where_nobody_asked_for_it"),
    ("passwords", "tests/faults/folder.rs::a_file_of_passwords_that_may_not_be_read_is_none_where_nobody_named_it"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether a test or a fixture is there.
fn is_there(shown: &str) -> bool {
    let Some((file, name)) = shown.split_once("::") else {
        return root().join(shown).is_dir();
    };
    let text = std::fs::read_to_string(root().join(file)).unwrap_or_default();
    let (head, tail) = (format!("fn {name}() {{"), "#[test]");
    let mut lines = text.lines().zip(text.lines().skip(1));
    lines.any(|(above, line)| line.trim() == head && above.trim() == tail)
}

/// What all parts name.
fn named() -> impl Iterator<Item = &'static str> {
    let parts = CASES.iter().flat_map(|(_, _, parts)| *parts);
    parts.chain(&OTHERS).map(|(_, shown)| *shown)
}

#[test]
fn every_case_has_parts_and_every_part_is_shown() {
    for (at, (number, text, parts)) in CASES.iter().enumerate() {
        assert_eq!(*number as usize, at + 1);
        assert!(!parts.is_empty(), "{number}");
        for (words, _) in *parts {
            assert!(text.contains(words), "{number}: `{words}`");
        }
    }
    let missing: Vec<_> = named().filter(|shown| !is_there(shown)).collect();
    assert!(missing.is_empty(), "named and not there: {missing:#?}");
    assert!(!is_there("tests/faults/cases.rs::is_there") && !is_there("fixtures/none"));
}

#[test]
fn every_test_and_every_flaw_is_of_a_case() {
    let named: BTreeSet<&str> = named().collect();
    let mut unnamed = Vec::new();
    for entry in std::fs::read_dir(root().join("tests/faults")).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        for (above, line) in text.lines().zip(text.lines().skip(1)) {
            let name = line
                .strip_prefix("fn ")
                .and_then(|rest| rest.split_once("()"));
            if let (Some((name, _)), "#[test]", true) = (name, above, file != "cases.rs") {
                unnamed.push(format!("tests/faults/{file}::{name}"));
            }
        }
    }
    assert!(unnamed.len() > 20, "{unnamed:?}");
    unnamed.retain(|name| !named.contains(name.as_str()));
    assert!(unnamed.is_empty(), "of no case: {unnamed:#?}");
}

#[test]
fn the_words_are_those_of_the_list() {
    let Some(list) = shared("faults.md") else {
        return;
    };
    let list = std::fs::read_to_string(list).unwrap();
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let list = words(&list);
    for (number, text, _) in CASES {
        assert!(
            list.contains(&format!("{number}. {}", words(text))),
            "{number}"
        );
    }
}

/// What a row of docs/limits.md says: the numbers in it, with their units, are those of what it names in a source.
#[test]
fn the_limits_that_are_documented_are_those_of_the_sources() {
    let text = std::fs::read_to_string(root().join("docs/limits.md")).unwrap();
    let mut seen = 0;
    for line in text.lines() {
        let quoted: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
        let Some(at) = quoted.iter().position(|word| word.starts_with("src/")) else {
            continue;
        };
        let source = std::fs::read_to_string(root().join(quoted[at])).unwrap();
        let names = &quoted[at + 1..];
        assert!(!names.is_empty(), "{line}");
        let found: Vec<u64> = names
            .iter()
            .flat_map(|name| values(&source, name))
            .collect();
        let said = figures(line.split('|').nth(2).unwrap());
        let is_function = source.contains(&format!("fn {}(", names[0]));
        match is_function {
            true => assert!(
                said.iter().all(|one| found.contains(one)),
                "{line}: {found:?}"
            ),
            false => assert_eq!(said, found, "{line}"),
        }
        seen += usize::from(!said.is_empty());
    }
    assert!(seen > 60, "{seen}");
}

/// The numbers in a text, in bytes where a unit follows.
fn figures(text: &str) -> Vec<u64> {
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || c == ';')
        .collect();
    let mut figures = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let digits = word.trim_end_matches(',').replace(',', "");
        let unit = words.get(at + 1).map(|next| next.trim_end_matches(','));
        let shift = match unit {
            Some("KiB") => 10,
            Some("MiB") => 20,
            Some("GiB") => 30,
            _ => 0,
        };
        figures.extend(digits.parse::<u64>().map(|number| number << shift));
    }
    figures
}

/// The numbers that make up a constant, or that stand in a function.
fn values(source: &str, name: &str) -> Vec<u64> {
    let constant = source.split_once(&format!("const {name}:"));
    let text = match constant {
        Some((_, rest)) => rest.split_once('=').unwrap().1.split(';').next().unwrap(),
        None => {
            let function = source.split_once(&format!("fn {name}("));
            let function = function.unwrap_or_else(|| panic!("there is no {name}")).1;
            function.split("\n}\n").next().unwrap()
        }
    };
    let parts = text.split(['(', ')', ',', ':', ';', '{', '}', '=']);
    let found: Vec<u64> = parts.filter_map(|part| value(source, part)).collect();
    match constant.is_some() && name.ends_with("_LOG") {
        true => found.iter().map(|power| 1 << power).collect(),
        false => found,
    }
}

/// What a shift or a product of numbers and constants is.
fn value(source: &str, text: &str) -> Option<u64> {
    if let Some((number, by)) = text.split_once("<<") {
        return Some(value(source, number)? << value(source, by)?);
    }
    let factor = |word: &str| match word.trim() {
        "MIB" => values(source, "MIB").first().copied(),
        word => word.replace('_', "").parse().ok(),
    };
    text.split('*').map(factor).product()
}

#[test]
fn the_reader_of_limits_reads_them() {
    let source = "const MIB: u64 = 1024 * 1024;\nconst A: u64 = 3 * MIB;\nconst B: u32 = 1 << 17;\nconst C: usize = 1_000;\n\
                  const D_LOG: u32 = 27;\nconst E: F = F {\n    each: 2 * MIB,\n    all: 7,\n};\nfn g(n: u64) -> u64 {\n    n.clamp(1000, 64 * 1024 * MIB)\n}\nconst H: u8 = 9;\n";
    for (name, text) in [
        ("A", "3 MiB"),
        ("B", "a window of 128 KiB, no more"),
        ("C", "1,000, all together"),
        ("D_LOG", "128 MiB; `x` is not"),
        ("E", "2 MiB of each, 7 together"),
        ("g", "1,000 times it, and at most 64 GiB"),
    ] {
        assert_eq!(values(source, name), figures(text), "{name}");
    }
    assert_ne!(values(source, "A"), figures("3 KiB"));
}

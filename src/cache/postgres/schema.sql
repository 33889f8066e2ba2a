-- Text is compared byte by byte (COLLATE "C"): no change of the system's locales reorders an index.
-- A stat is 32 bytes: size, mtime, inode and ctime, eight each, the largest first.
CREATE SCHEMA IF NOT EXISTS sigindex;

CREATE TABLE sigindex.migration (
    version int PRIMARY KEY,
    applied timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE sigindex.channel (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE
);

CREATE TABLE sigindex.package (
    channel int NOT NULL REFERENCES sigindex.channel ON DELETE CASCADE,
    subdir text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    stat bytea NOT NULL,
    sha256 bytea NOT NULL,
    indexed_timestamp bigint NOT NULL,
    checksum bigint NOT NULL,
    decoded boolean NOT NULL,
    record text NOT NULL,
    details text NOT NULL,
    mismatch bytea,
    sig_stat bytea,
    sig_key text,
    sig_fingerprint bytea,
    sig_value text,
    sigs_stat bytea,
    sigs_sha256 bytea,
    PRIMARY KEY (channel, subdir, name)
);

-- Versions of signed metadata, by role.
CREATE TABLE sigindex.seen (
    channel int NOT NULL REFERENCES sigindex.channel ON DELETE CASCADE,
    role text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (channel, role)
);

-- Who stored last, each by the transaction: a ledger counts only as long as whoever wrote it knew of all of them.
CREATE TABLE sigindex.stored (
    channel int NOT NULL REFERENCES sigindex.channel ON DELETE CASCADE,
    session uuid NOT NULL,
    stored_by xid8 NOT NULL,
    stored timestamptz NOT NULL,
    PRIMARY KEY (channel, session)
);

CREATE TABLE sigindex.ledger (
    channel int PRIMARY KEY REFERENCES sigindex.channel ON DELETE CASCADE,
    text bytea NOT NULL,
    checksum bigint NOT NULL,
    session uuid NOT NULL,
    known pg_snapshot NOT NULL
);

-- Workers that take packages, each as long as it is alive.
CREATE TABLE sigindex.worker (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    channel int NOT NULL REFERENCES sigindex.channel ON DELETE CASCADE,
    alive_until timestamptz NOT NULL
);

-- Packages that are put up to be read. `again` is another stat that somebody saw while a worker had it.
CREATE TABLE sigindex.claim (
    channel int NOT NULL REFERENCES sigindex.channel ON DELETE CASCADE,
    subdir text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    size bigint NOT NULL,
    stat bytea NOT NULL,
    worker uuid REFERENCES sigindex.worker ON DELETE SET NULL,
    ticket bigint,
    again bytea,
    again_size bigint,
    finished timestamptz,
    finished_by xid8,
    PRIMARY KEY (channel, subdir, name)
);
CREATE INDEX claim_free ON sigindex.claim (channel, size DESC, subdir, name)
    WHERE worker IS NULL AND finished IS NULL;
CREATE INDEX claim_held ON sigindex.claim (worker) WHERE worker IS NOT NULL;

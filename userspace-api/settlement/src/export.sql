CREATE SCHEMA IF NOT EXISTS ring0;
CREATE TABLE IF NOT EXISTS ring0.asset (
    asset integer PRIMARY KEY,
    name text NOT NULL,
    decimals integer NOT NULL,
    unit_exponent integer NOT NULL
);
CREATE TABLE IF NOT EXISTS ring0.batch (
    epoch bigint PRIMARY KEY,
    time_ns bigint NOT NULL,
    at bigint[] NOT NULL,
    fact bigint NOT NULL
);
CREATE TABLE IF NOT EXISTS ring0.line (
    epoch bigint,
    account bigint,
    ordinal integer,
    asset integer NOT NULL,
    kind text NOT NULL,
    counts boolean NOT NULL,
    amount numeric(39, 0) NOT NULL,
    shard integer,
    record bigint,
    fact bigint,
    PRIMARY KEY (epoch, account, ordinal)
);
CREATE TABLE IF NOT EXISTS ring0.closing (
    epoch bigint,
    account bigint,
    asset integer,
    balance numeric(39, 0) NOT NULL,
    PRIMARY KEY (epoch, account, asset)
);
CREATE TABLE IF NOT EXISTS ring0.book (
    book jsonb,
    class text NOT NULL,
    account bigint,
    asset integer,
    amount numeric(39, 0) NOT NULL,
    PRIMARY KEY (book, asset)
);
CREATE TABLE IF NOT EXISTS ring0.fee (
    shard integer,
    schedule integer,
    instrument integer NOT NULL,
    since bigint NOT NULL,
    asset integer NOT NULL,
    maker_ppm integer NOT NULL,
    taker_ppm integer NOT NULL,
    part text,
    amount numeric(39, 0) NOT NULL,
    PRIMARY KEY (shard, schedule, part)
);

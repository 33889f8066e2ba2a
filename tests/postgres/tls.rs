//! TLS as libpq's `sslmode` has it, with certificates of the test's own.

use std::path::Path;
use std::process::Command;

use sigindex::cache::postgres;

use crate::postgres::{PASSWORD, ROLE, Server, shared};
use crate::soon;

fn openssl(folder: &Path, words: &str) {
    let mut command = Command::new("openssl");
    let done = command.args(words.split(' ')).current_dir(folder).output();
    let done = done.unwrap();
    assert!(done.status.success(), "openssl {words}: {done:?}");
}

/// Somebody who is trusted, somebody who is not, and a server's certificate for 127.0.0.1, but not for localhost.
fn certificates(folder: &Path) {
    let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 7";
    for name in ["ca", "other"] {
        openssl(
            folder,
            &format!("{new} -keyout {name}.key -out {name}.pem -subj /CN={name}"),
        );
    }
    let name = "-subj /CN=db -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE";
    openssl(
        folder,
        &format!("{new} -keyout server.key -out server.pem {name} -CA ca.pem -CAkey ca.key"),
    );
}

#[test]
fn sslmode_asks_for_as_much_as_it_says() {
    if Command::new("openssl").arg("version").output().is_err() {
        shared::not_to_be_had("openssl", "install Debian's package openssl");
        return;
    }
    let trusted = tempfile::tempdir().unwrap();
    let prepare = |folder: &Path| {
        certificates(folder);
        for name in ["ca.pem", "other.pem"] {
            std::fs::copy(folder.join(name), trusted.path().join(name)).unwrap();
        }
    };
    let folder = "..";
    let (cert, key) = (
        format!("ssl_cert_file={folder}/server.pem"),
        format!("ssl_key_file={folder}/server.key"),
    );
    let settings = [
        "ssl=on",
        &cert,
        &key,
        "listen_addresses=127.0.0.1,localhost",
    ];
    let Some(server) = Server::start_with(&settings, prepare) else {
        return;
    };
    server.database("tls");
    let open = |host: &str, mode: &str, roots: Option<&str>| {
        let port = server.port();
        let roots = roots.map_or(String::new(), |roots| {
            format!("&sslrootcert={}", trusted.path().join(roots).display())
        });
        let url = format!("postgres://{ROLE}:{PASSWORD}@{host}:{port}/tls?sslmode={mode}{roots}");
        let opened = postgres::open_with(&url, "a", soon()).map(drop);
        opened.map_err(|error| error.to_string())
    };
    for (host, mode, roots, refused) in [
        ("127.0.0.1", "disable", None, None),
        ("127.0.0.1", "prefer", None, None),
        ("127.0.0.1", "require", None, None),
        (
            "127.0.0.1",
            "require",
            Some("other.pem"),
            Some("UnknownIssuer"),
        ),
        ("127.0.0.1", "verify-ca", Some("ca.pem"), None),
        ("localhost", "verify-ca", Some("ca.pem"), None),
        (
            "127.0.0.1",
            "verify-ca",
            Some("other.pem"),
            Some("UnknownIssuer"),
        ),
        ("127.0.0.1", "verify-full", Some("ca.pem"), None),
        (
            "localhost",
            "verify-full",
            Some("ca.pem"),
            Some("not valid for name"),
        ),
        (
            "127.0.0.1",
            "verify-full",
            Some("other.pem"),
            Some("UnknownIssuer"),
        ),
        // The system does not know it either.
        ("127.0.0.1", "verify-full", None, Some("sslrootcert")),
    ] {
        let opened = open(host, mode, roots);
        match refused {
            None => assert_eq!(opened, Ok(()), "{host} {mode} {roots:?}"),
            Some(why) => {
                let error = opened.unwrap_err();
                assert!(error.contains(why), "{host} {mode} {roots:?}: {error}");
            }
        }
    }
}

#[test]
fn a_server_without_tls_is_refused_where_it_was_asked_for() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.database("plain");
    for (mode, good) in [("prefer", true), ("require", false), ("verify-full", false)] {
        let url = url.replace("sslmode=disable", &format!("sslmode={mode}"));
        let opened = postgres::open_with(&url, "a", soon());
        assert_eq!(opened.is_ok(), good, "{mode}");
    }
}

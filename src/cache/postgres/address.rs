//! Where a shared cache is: a URL as libpq has it, and what libpq takes from the environment. Owns the password until the
//! connection has it, and the name of the place that people read, which never has it; must not know what is stored there.

use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::tls::{Tls, TlsMode};
use crate::cache::CacheError;
use crate::shown::{shown, told};
use crate::storage::{OwnFile, OwnPath, Unread, read_own};

/// Where Debian's server puts its socket, for a URL without a host.
const SOCKETS: &str = "/var/run/postgresql";

/// The largest file of passwords that is read, in bytes.
const MAX_PASSWORDS: u64 = 1 << 20;

/// What the words of a URL look like, for those that don't.
const FORM: &str = "write postgres://USER@HOST:PORT/DATABASE?sslmode=verify-full, with special characters as %XX, and keep the password in $PGPASSWORD or ~/.pgpass";

/// A place to connect to.
pub(super) struct Address {
    /// What the client needs, with the password.
    pub config: Config,
    /// How the connection is protected.
    pub tls: Tls,
    /// The place by name, without the password.
    pub place: String,
}

/// A variable of the environment.
type Lookup<'l> = &'l dyn Fn(&str) -> Option<String>;

impl Address {
    /// Reads a URL, and what it leaves to the environment: `PGPASSWORD`, `PGPASSFILE`, `PGSSLMODE`, `PGSSLROOTCERT`.
    ///
    /// # Errors
    /// When it has another form. What it says is not repeated: a part of a password may stand in any place.
    pub fn parse(url: &str, lookup: Lookup<'_>) -> Result<Address, CacheError> {
        demand_escapes(url)?;
        let (rest, tls) = split_tls(url);
        let mut config: Config = rest.parse().map_err(|_| bad("its form is not known"))?;
        demand_names(&config)?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            config.host_path(SOCKETS);
        }
        if config.get_user().is_none() {
            let name = lookup("PGUSER").or_else(|| lookup("USER"));
            name.into_iter().for_each(|name| {
                config.user(name);
            });
        }
        let mode = tls.mode.or_else(|| lookup("PGSSLMODE"));
        let roots = tls.roots.or_else(|| lookup("PGSSLROOTCERT"));
        let tls = Tls {
            mode: mode_of(&config, mode.as_deref())?,
            roots: roots.map(PathBuf::from),
        };
        config.ssl_mode(match tls.mode {
            TlsMode::Disable => SslMode::Disable,
            TlsMode::Prefer => SslMode::Prefer,
            TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => SslMode::Require,
        });
        if config.get_password().is_none() {
            let password = match lookup("PGPASSWORD").filter(|it| !it.is_empty()) {
                Some(password) => Some(password),
                None => from_file(&config, lookup)?,
            };
            password.into_iter().for_each(|password| {
                config.password(password);
            });
        }
        let place = place(&config);
        Ok(Address { config, tls, place })
    }
}

fn bad(why: &str) -> CacheError {
    CacheError::Server {
        place: "--cache postgres://…".to_owned(),
        operation: "opened",
        cause: why.to_owned(),
        remedy: FORM,
    }
}

/// Only one `@` stands in a URL as it is, and nothing of a query before it. The client takes the first one for the end of
/// the password, and the rest of that for a host, whom it looks up and names.
fn demand_escapes(url: &str) -> Result<(), CacheError> {
    let (_, rest) = url.split_once("://").unwrap_or_default();
    let Some((credentials, rest)) = rest.split_once('@') else {
        return Ok(());
    };
    // What stands behind the first `?` of a whole URL is no password.
    let place = rest.split('?').next().unwrap_or_default();
    match credentials.contains('?') || place.contains('@') {
        true => Err(bad(
            "it holds an `@` too many, or a `?` before one: write @ as %40, / as %2F and ? as %3F",
        )),
        false => Ok(()),
    }
}

/// A host is a name or an address, and no part of a password.
fn demand_names(config: &Config) -> Result<(), CacheError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_:[]%".contains(c);
    let is_name = |host: &Host| match host {
        Host::Tcp(name) => name.chars().all(is_plain),
        Host::Unix(_) => true,
    };
    match config.get_hosts().iter().all(is_name) {
        true => Ok(()),
        false => Err(bad(
            "what stands for its host is no name of one: of a password that holds `@`, write @ as %40",
        )),
    }
}

/// What a URL says of TLS.
#[derive(Default)]
struct Asked {
    mode: Option<String>,
    roots: Option<String>,
}

/// Takes out of a URL what the client's own parser does not know: modes that verify, and whom to trust.
fn split_tls(url: &str) -> (String, Asked) {
    let mut asked = Asked::default();
    let Some((base, query)) = url.rsplit_once('?') else {
        return (url.to_owned(), asked);
    };
    let mut kept = Vec::new();
    for pair in query.split('&') {
        let value = |text: &str| Some(percent_decode_str(text).decode_utf8_lossy().into_owned());
        match pair.split_once('=') {
            Some(("sslmode", mode)) => asked.mode = value(mode),
            Some(("sslrootcert", path)) => asked.roots = value(path),
            _ => kept.push(pair),
        }
    }
    let rest = match kept.is_empty() {
        true => base.to_owned(),
        false => format!("{base}?{}", kept.join("&")),
    };
    (rest, asked)
}

fn mode_of(config: &Config, asked: Option<&str>) -> Result<TlsMode, CacheError> {
    // A socket is on this machine: there is no TLS on it, whatever is asked, as with libpq.
    let is_socket = |host: &Host| matches!(host, Host::Unix(_));
    if !config.get_hosts().is_empty() && config.get_hosts().iter().all(is_socket) {
        return Ok(TlsMode::Disable);
    }
    match asked {
        None => Ok(TlsMode::Prefer),
        Some(asked) => TlsMode::parse(asked).ok_or_else(|| {
            bad("its sslmode is none of disable, prefer, require, verify-ca and verify-full")
        }),
    }
}

fn hosts(config: &Config) -> Vec<String> {
    let hosts = config.get_hosts().iter().map(|host| match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => told(path),
    });
    let addresses = config.get_hostaddrs().iter().map(ToString::to_string);
    match config.get_hosts().is_empty() {
        true => addresses.collect(),
        false => hosts.collect(),
    }
}

fn place(config: &Config) -> String {
    let ports: Vec<String> = config.get_ports().iter().map(ToString::to_string).collect();
    let port = match ports.is_empty() {
        true => String::new(),
        false => format!(":{}", ports.join(",")),
    };
    let user = config.get_user().map(|user| format!("{user}@"));
    format!(
        "postgres://{}{}{port}/{}",
        user.unwrap_or_default(),
        hosts(config).join(","),
        config.get_dbname().unwrap_or_default()
    )
}

/// The password that a file of libpq's form has for this place: `host:port:database:user:password`.
fn from_file(config: &Config, lookup: Lookup<'_>) -> Result<Option<String>, CacheError> {
    let default = || {
        Some(OwnPath::Default(
            Path::new(&lookup("HOME")?).join(".pgpass"),
        ))
    };
    let named = lookup("PGPASSFILE").map(|path| OwnPath::Named(PathBuf::from(path)));
    let Some(place) = named.or_else(default) else {
        return Ok(None);
    };
    let path = place.path();
    let unread = |cause: Unread| CacheError::Open {
        path: shown(path),
        operation: "read the file of passwords",
        cause: std::io::Error::other(format!(
            "{cause} (PGPASSFILE names another, or /dev/null for none)"
        )),
    };
    let Some(found) = of_passwords(&place).map_err(unread)? else {
        return Ok(None);
    };
    private(path, &found.metadata)?;
    let text = found.text().map_err(unread)?;
    let user = config.get_user().unwrap_or_default();
    let database = config.get_dbname().unwrap_or(user);
    let of_host = |number: usize, host: String| {
        let ports = config.get_ports();
        let port = ports.get(number).or(ports.first()).unwrap_or(&5432);
        let host = match config.get_hosts().get(number) {
            // libpq's name for a socket where sockets are by default.
            Some(Host::Unix(path)) if path == Path::new(SOCKETS) => "localhost".to_owned(),
            _ => host,
        };
        let place = [host.as_str(), &port.to_string(), database, user];
        text.lines().find_map(|line| password_in(line, &place))
    };
    let all = hosts(config).into_iter().enumerate();
    let mut all = all.map(|(number, host)| of_host(number, host));
    let first = all.next().flatten();
    match all.all(|other| other == first) {
        true => Ok(first),
        // Each host is told the same one.
        false => Err(CacheError::Open {
            path: shown(path),
            operation: "use the file of passwords",
            cause: std::io::Error::other(
                "it has not the same password for all hosts that the URL names; name one host",
            ),
        }),
    }
}

/// The file, if there is one. As with libpq, a `~/.pgpass` that is no regular file or that this user may not read is none;
/// one that `PGPASSFILE` names has to be read, whatever it is, but for a device: `/dev/null` is none on purpose.
fn of_passwords(place: &OwnPath) -> Result<Option<OwnFile>, Unread> {
    let is_named = matches!(place, OwnPath::Named(_));
    match read_own(place, MAX_PASSWORDS) {
        Err(why) if !is_named && is_none(&why) => Ok(None),
        Err(why) => Err(why),
        Ok(found) => Ok(found.filter(|it| !it.metadata.file_type().is_char_device())),
    }
}

/// What libpq passes over.
fn is_none(why: &Unread) -> bool {
    why.is_denied() || matches!(why, Unread::Folder | Unread::NoFile)
}

fn private(path: &Path, found: &Metadata) -> Result<(), CacheError> {
    match found.mode() & 0o077 {
        0 => Ok(()),
        _ => Err(CacheError::Open {
            path: shown(path),
            operation: "use the file of passwords",
            cause: std::io::Error::other(
                "others may read or write it; take that away with chmod 0600",
            ),
        }),
    }
}

/// The password of a line, where its other fields are those of the place.
fn password_in(line: &str, place: &[&str]) -> Option<String> {
    let (mut fields, mut field, mut escaped) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        match c {
            '\\' if !escaped => escaped = true,
            ':' if !escaped && fields.len() < place.len() => {
                fields.push(std::mem::take(&mut field));
            }
            c => {
                escaped = false;
                field.push(c);
            }
        }
    }
    let same = |(field, place): (&String, &&str)| field == "*" || field == place;
    let is_it = !line.starts_with('#') && fields.len() == place.len();
    (is_it && fields.iter().zip(place).all(same)).then_some(field)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::cache::is_shared;
    use std::os::unix::fs::PermissionsExt as _;

    fn parse(url: &str, variables: &[(&str, &str)]) -> Result<Address, CacheError> {
        let lookup = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Address::parse(url, &lookup)
    }

    fn password(address: &Address) -> Option<&str> {
        let bytes = address.config.get_password();
        bytes.map(|bytes| std::str::from_utf8(bytes).unwrap())
    }

    #[test]
    fn the_name_of_a_place_has_no_password() {
        let url = "postgresql://me:s%2Fecret@db.example:6543,other/channels?sslmode=verify-full&sslrootcert=%2Fa%20b&connect_timeout=3";
        let address = parse(url, &[("PGPASSWORD", "another")]).unwrap();
        assert_eq!(
            address.place,
            "postgres://me@db.example,other:6543,5432/channels"
        );
        assert_eq!(password(&address), Some("s/ecret"));
        assert_eq!(address.tls.mode, TlsMode::VerifyFull);
        assert_eq!(address.tls.roots.as_deref(), Some(Path::new("/a b")));
        let escaped = "postgres://me%40there:s%40e%2Fc%3Fr@h-1_2.example,[::1]/channels";
        let address = parse(escaped, &[]).unwrap();
        assert_eq!(password(&address), Some("s@e/c?r"));
        assert_eq!(
            address.place,
            "postgres://me@there@h-1_2.example,::1:5432,5432/channels"
        );
        let asked = "postgres://me:a/b@h/channels?application_name=ci@h";
        let address = parse(asked, &[]).unwrap();
        assert_eq!(password(&address), Some("a/b"));
        assert_eq!(address.place, "postgres://me@h:5432/channels");
        let address = parse("postgres:///channels", &[("PGUSER", "me")]).unwrap();
        assert_eq!(address.place, "postgres://me@/var/run/postgresql/channels");
        assert_eq!(address.tls.mode, TlsMode::Disable);
        assert!(is_shared(url) && !is_shared("/postgres") && !is_shared("s3://postgres"));
    }

    #[test]
    fn what_a_broken_url_says_is_not_repeated() {
        for url in [
            "postgres://me:secret@host:secret/channels",
            "postgres://me:secret@host/channels?sslmode=secret",
            "postgres://me:secret@host/channels?secret=secret",
            "postgres://me:of@secret@host/channels",
            "postgres://me:of@/secret@host/channels",
            "postgres://me:of@%2Fsecret@host/channels",
            "postgres://me:of?secret@host/channels",
            "postgres://host/channels?password=of@secret",
            "postgres://host:5432/channels?password=of@secret",
            "postgres://me:of@secret%40host/channels",
            "postgres://me:of@secret word/channels",
            "postgres://me:of@secret;host/channels",
            "postgres://me@host/channels?host=of%40secret",
        ] {
            let Err(error) = parse(url, &[]) else {
                panic!("{url}")
            };
            let said = format!("{error} {error:?}");
            assert!(!said.contains("secret"), "{said}");
            assert!(said.contains("%XX"), "{said}");
        }
    }

    #[test]
    fn what_a_url_leaves_out_the_environment_gives() {
        let asked = [("PGPASSWORD", "word"), ("PGSSLMODE", "require")];
        let address = parse("postgres://me@host/channels", &asked).unwrap();
        assert_eq!(password(&address), Some("word"));
        assert_eq!(address.tls.mode, TlsMode::Require);
        let address = parse("postgres://me@host/channels?sslmode=disable", &asked).unwrap();
        assert_eq!(address.tls.mode, TlsMode::Disable);
    }

    #[test]
    fn a_file_of_passwords_is_read_as_libpq_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passwords");
        let text = "# host:5432:channels:me:no\nhost:5433:*:me:no\nhost:*:channels:me:a\\:b\\\\c:d\n*:*:*:*:no\n";
        std::fs::write(&path, text).unwrap();
        let url = "postgres://me@host/channels";
        let asked = [("PGPASSFILE", path.to_str().unwrap())];
        let mode = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(0o644);
        let Err(error) = parse(url, &asked) else {
            panic!("others may read it")
        };
        assert!(error.to_string().contains("chmod 0600"), "{error}");
        mode(0o600);
        let address = parse(url, &asked).unwrap();
        assert_eq!(password(&address), Some("a:b\\c:d"));
        let home = [("HOME", folder.path().to_str().unwrap())];
        std::fs::rename(&path, folder.path().join(".pgpass")).unwrap();
        assert_eq!(password(&parse(url, &home).unwrap()), Some("a:b\\c:d"));
        assert_eq!(password(&parse(url, &asked).unwrap()), None, "it is gone");
        let none = [("PGPASSFILE", "/dev/null")];
        assert_eq!(password(&parse(url, &none).unwrap()), None, "on purpose");
        let two = "postgres://me@host,host:6543/channels";
        assert_eq!(password(&parse(two, &home).unwrap()), Some("a:b\\c:d"));
        let two = "postgres://me@host,other:5433/channels";
        let Err(error) = parse(two, &home) else {
            panic!("one of them has another")
        };
        assert!(error.to_string().contains("the same password"), "{error}");
        let socket = "postgres:///channels?host=/run/elsewhere&user=me";
        assert_eq!(password(&parse(socket, &home).unwrap()), Some("no"));
    }

    #[test]
    fn a_line_of_passwords_has_all_fields_and_localhost_is_the_usual_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passwords");
        let text = "\nhost\nlocalhost:5432:channels:me:by socket\n*:*:*:*:other\n";
        std::fs::write(&path, text).unwrap();
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&path, private).unwrap();
        let asked = [("PGPASSFILE", path.to_str().unwrap())];
        for (host, expected) in [
            (SOCKETS, "by socket"),
            ("/run/elsewhere", "other"),
            ("host", "other"),
        ] {
            let url = format!("postgres:///channels?host={host}&user=me");
            let address = parse(&url, &asked).unwrap();
            assert_eq!(password(&address), Some(expected), "{host}");
        }
    }

    #[test]
    fn a_file_of_passwords_that_cannot_be_read_is_not_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let long = std::fs::File::create(at("long")).unwrap();
        long.set_len(MAX_PASSWORDS + 1).unwrap();
        std::fs::write(at("latin"), b"*:*:*:*:\xe9\n").unwrap();
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(at("latin"), private).unwrap();
        for (file, why) in [
            (at("long"), "more than 1048576 bytes"),
            (at("latin"), "UTF-8"),
            ("/dev/zero".to_owned(), "more than 1048576 bytes"),
        ] {
            let Err(error) = parse("postgres://me@host/channels", &[("PGPASSFILE", &file)]) else {
                panic!("{file} is passed over")
            };
            let said = error.to_string();
            assert!(said.contains(&file) && said.contains(why), "{said}");
        }
    }

    #[test]
    fn a_file_of_passwords_that_is_none_is_passed_over_where_nobody_named_it() {
        let denied = |errno: rustix::io::Errno| Unread::Io(errno.into());
        assert!(is_none(&denied(rustix::io::Errno::ACCESS)));
        assert!(!is_none(&denied(rustix::io::Errno::IO)) && !is_none(&Unread::TooLong(1)));
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(".pgpass");
        let url = "postgres://me@host/channels";
        let by_home = [("HOME", home.path().to_str().unwrap())];
        let by_name = [("PGPASSFILE", path.to_str().unwrap())];
        std::fs::create_dir(&path).unwrap();
        assert_eq!(password(&parse(url, &by_home).unwrap()), None);
        let Err(error) = parse(url, &by_name) else {
            panic!("a folder is named")
        };
        assert!(error.to_string().contains("it is a folder"), "{error}");
        std::fs::remove_dir(&path).unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
        assert_eq!(password(&parse(url, &by_home).unwrap()), None);
        let to = path.clone();
        let writer = std::thread::spawn(move || std::fs::write(to, "*:*:*:*:word\n"));
        let named = parse(url, &by_name).unwrap();
        assert_eq!(password(&named), Some("word"));
        writer.join().unwrap().unwrap();
    }
}

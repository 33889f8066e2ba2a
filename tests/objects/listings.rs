//! Listings as no store should give them, from a server that says the same to every request.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use sigindex::storage::{ObjectOptions, ObjectStorage, Storage as _};

use crate::options;

/// Where a server is that answers so, a number in place of each `{}`, until the process ends.
fn answering(body: impl Fn(usize) -> String + Send + 'static) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for (count, connection) in listener.incoming().flatten().enumerate() {
            let mut connection = connection;
            let mut request = [0; 4096];
            let _ = connection.read(&mut request);
            let body = body(count);
            let length = body.len();
            let _ = write!(
                connection,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
        }
    });
    endpoint
}

fn said(body: impl Fn(usize) -> String + Send + 'static) -> String {
    let options = ObjectOptions {
        patience: Duration::from_secs(2),
        ..options(&answering(body))
    };
    let storage = ObjectStorage::open("s3://bucket/channel", options).unwrap();
    storage.list("noarch").unwrap_err().to_string()
}

fn page(token: &str, key: &str) -> String {
    let rest =
        "<LastModified>2020-01-01T00:00:00.000Z</LastModified><ETag>\"x\"</ETag><Size>1</Size>";
    format!(
        "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken><Contents><Key>{key}</Key>{rest}</Contents></ListBucketResult>"
    )
}

#[test]
fn pages_without_an_end_are_told() {
    let key = "channel/noarch/a";
    let round = said(move |count| page(&format!("t{}", count % 3), key));
    assert!(round.contains("no end"), "{round}");
    let long = said(move |_| page(&"t".repeat(20_000), key));
    assert!(long.contains("no end"), "{long}");
}

#[test]
fn too_many_keys_that_no_file_can_have_are_told_with_one_of_them() {
    let odd = said(|count| page(&format!("t{count}"), &format!("channel/noarch//{count}")));
    for word in ["more than 1000 keys", "channel/noarch//", "remove"] {
        assert!(odd.contains(word), "{odd}");
    }
}

#[test]
fn an_answer_that_is_no_listing_is_told() {
    for body in ["<html><body>log in please", "<a>\u{0}</b>"] {
        let error = said(move |_| body.to_owned());
        assert!(error.contains("endpoint is that of a store"), "{error}");
    }
}

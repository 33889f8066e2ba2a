//! MatchSpecs as real recipes have them, in every form: what they become, and what is theirs.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::MatchSpec;
use proptest::prelude::*;

fn parse(text: &str) -> MatchSpec {
    MatchSpec::parse(text).unwrap_or_else(|| panic!("{text} can't be read"))
}

/// The form in brackets of those that have one.
#[test]
fn the_form_in_brackets() {
    for (text, brackets) in [
        // The two blocks of CEP 29.
        ("pkg=1.8", "pkg[version=\"1.8.*\"]"),
        ("pkg =1.8", "pkg[version=\"1.8.*\"]"),
        ("pkg 1.8.*", "pkg[version=\"1.8.*\"]"),
        ("pkg 1.8.* *", "pkg[version=\"1.8.*\"]"),
        ("pkg=1.8.*", "pkg[version=\"1.8.*\"]"),
        ("pkg=1.8.*=*", "pkg[version=\"1.8.*\"]"),
        ("pkg =1.8.* *", "pkg[version=\"1.8.*\"]"),
        ("pkg ==1.8.* *", "pkg[version=\"1.8.*\"]"),
        ("pkg[version=1.8.*]", "pkg[version=\"1.8.*\"]"),
        ("pkg[version=\"1.8.*\"]", "pkg[version=\"1.8.*\"]"),
        ("pkg 1.8", "pkg[version=\"1.8\"]"),
        ("pkg 1.8 *", "pkg[version=\"1.8\"]"),
        ("pkg==1.8", "pkg[version=\"1.8\"]"),
        ("pkg=1.8=*", "pkg[version=\"1.8\"]"),
        ("pkg==1.8=*", "pkg[version=\"1.8\"]"),
        ("pkg ==1.8 *", "pkg[version=\"1.8\"]"),
        ("pkg[version=1.8]", "pkg[version=\"1.8\"]"),
        // Three fields.
        ("pkg 1.8 py27_0", "pkg[version=\"1.8\",build=\"py27_0\"]"),
        ("pkg ==1.8 py27_0", "pkg[version=\"1.8\",build=\"py27_0\"]"),
        ("pkg=1.8=py27_0", "pkg[version=\"1.8\",build=\"py27_0\"]"),
        ("pkg==1.8=py27_0", "pkg[version=\"1.8\",build=\"py27_0\"]"),
        ("pkg =1.8 py27_0", "pkg[version=\"1.8.*\",build=\"py27_0\"]"),
        ("pkg=1.8 py27_0", "pkg[version=\"1.8\",build=\"py27_0\"]"),
        ("blas * mkl", "blas[build=\"mkl\"]"),
        (
            "blas 1.* openblas",
            "blas[version=\"1.*\",build=\"openblas\"]",
        ),
        ("blas=*=*mkl", "blas[build=\"*mkl\"]"),
        (
            "python_abi 3.10.* *_cp310",
            "python_abi[version=\"3.10.*\",build=\"*_cp310\"]",
        ),
        (
            "hdf5 >=1.12,<2.0a0 mpi_*",
            "hdf5[version=\">=1.12,<2.0a0\",build=\"mpi_*\"]",
        ),
        (
            "pkg 1.8 ^py(27|36)_[0-9]+$",
            "pkg[version=\"1.8\",build=\"^py(27|36)_[0-9]+$\"]",
        ),
        // White space.
        ("nodejs >=12,<13 ", "nodejs[version=\">=12,<13\"]"),
        ("python >= 3.6, < 4", "python[version=\">=3.6,<4\"]"),
        ("python >=3.6 ,<4", "python[version=\">=3.6,<4\"]"),
        (" python  2.7.* ", "python[version=\"2.7.*\"]"),
        ("python\t2.7", "python[version=\"2.7\"]"),
        (
            "foo (1.0 | 2.0) b",
            "foo[version=\"(1.0|2.0)\",build=\"b\"]",
        ),
        // Versions.
        ("foo 1.8*", "foo[version=\"1.8.*\"]"),
        ("foo>=1,<2|3.*", "foo[version=\">=1,<2|3.*\"]"),
        ("foo!=1.2", "foo[version=\"!=1.2\"]"),
        ("foo ~=1.4.2", "foo[version=\"~=1.4.2\"]"),
        ("foo=1.0|2.0", "foo[version=\"1.0.*|2.0\"]"),
        ("foo 1.0|2.0 0", "foo[version=\"1.0|2.0\",build=\"0\"]"),
        ("foo ^1\\.[0-9]$", "foo[version=\"^1\\.[0-9]$\"]"),
        ("foo 1!2.0", "foo[version=\"1!2.0\"]"),
        // Nothing is left out.
        ("foo", "foo"),
        ("Foo ", "foo"),
        ("foo *", "foo"),
        ("foo * *", "foo"),
        ("foo=*", "foo"),
        ("foo[]", "foo"),
        (
            "foo[version='*',build=\"*\",build_number=*,extras=[],flags=[]]",
            "foo",
        ),
        (
            "__glibc >=2.17,<3.0.a0",
            "__glibc[version=\">=2.17,<3.0.a0\"]",
        ),
        (
            "_libgcc_mutex 0.1 conda_forge",
            "_libgcc_mutex[version=\"0.1\",build=\"conda_forge\"]",
        ),
        // Brackets.
        ("a 1.0 x[version=2,build=y]", "a[version=\"2\",build=\"y\"]"),
        (
            "a[build_number=3, build='py*' version=\">=1, <2\"]",
            "a[version=\">=1,<2\",build=\"py*\",build_number=3]",
        ),
        ("a[build_number='>=3']", "a[build_number=\">=3\"]"),
        ("a[name=b]", "a"),
        ("ns:a", "a"),
        ("::a", "a"),
        // CEP 43, 44, 45 and 48.
        (
            "numpy>=2[when=\"python>=3.10\"]",
            "numpy[version=\">=2\",when=\"python>=3.10\"]",
        ),
        (
            "a[when='b[version=\"<1\"] or c']",
            "a[when='b[version=\"<1\"] or c']",
        ),
        (
            "package[version=2,build_number=0,when=__unix]",
            "package[version=\"2\",build_number=0,when=\"__unix\"]",
        ),
        (
            "example[extras=\"group-name\"]",
            "example[extras=[\"group-name\"]]",
        ),
        (
            "example[extras=[a, 'b.c' , \"d+\"]]",
            "example[extras=[\"a\",\"b.c\",\"d+\"]]",
        ),
        (
            "pytorch[version=\">=3.1\", flags=[\"cuda\", \"blas:*\"]]",
            "pytorch[version=\">=3.1\",flags=[\"cuda\",\"blas:*\"]]",
        ),
        ("a[flags=cuda]", "a[flags=[\"cuda\"]]"),
    ] {
        let spec = parse(text);
        assert_eq!(spec.in_brackets().as_deref(), Some(brackets), "{text}");
        assert_eq!(parse(brackets), spec, "{text}");
    }
}

#[test]
fn what_brackets_can_not_say() {
    for text in [
        "*",
        "py* 1.0",
        "*[md5=12345678901234567890123456789012]",
        "^py.*$",
        "conda-forge::foo",
        "conda-forge/linux-64:ns:foo>=1.0",
        "https://conda.anaconda.org/conda-forge::foo",
        "foo[channel=x]",
        "foo[subdir=linux-64]",
        "foo[license='a b']",
        // Its quotes would have to be escaped.
        r#"foo[when="b[version='1'] or c[version=\"2\"]"]"#,
        r#"foo[build='^a\\\\b$']"#,
    ] {
        assert_eq!(parse(text).in_brackets(), None, "{text}");
    }
}

#[test]
fn what_breaks_the_grammar() {
    let long = "a".repeat(20_000);
    let deep = format!("a {}1", "(".repeat(5_000));
    for text in [
        "",
        " ",
        "[",
        "]",
        "[]",
        "a]",
        "a[",
        "a[b",
        "a[b]",
        "a b c d",
        "a 1.0 b c",
        "a=",
        "a >=",
        "a 1,",
        "a|b",
        "a,b",
        "a@b",
        "@a",
        "a b!",
        "ü",
        "a/b",
        "a 1.0 (optional)",
        "a[optional]",
        "a[version=]",
        "a[version='']",
        "a[version=1,version=2]",
        "a[version=[1]]",
        "a[build=[x]]",
        "a[build_number=x y]",
        "a[when='']",
        "a[when='b and']",
        "a[when=\"b[when='c']\"]",
        "a[extras='A']",
        "a[extras='a b']",
        "a[extras=['']]",
        "a[flags='a:b:c']",
        "a[flags=A]",
        "a[flags='a+']",
        "a[build=x]b",
        "a[b=c][d=e]",
        "a 1[0]",
        "a ^1$ ^2",
        "a ^(1$",
        &long,
        &deep,
    ] {
        assert_eq!(MatchSpec::parse(text), None, "{text}");
    }
    assert!(MatchSpec::parse("a[build_number=>=3]").is_some());
}

#[test]
fn packages_that_are_meant() {
    for (text, version, build, number, is) in [
        ("a", "1", "0", 0, true),
        ("a 1.8", "1.8.0", "x", 1, true),
        ("a 1.8", "1.8.1", "x", 1, false),
        ("a=1.8", "1.8.1", "x", 1, true),
        ("a 1.* openblas", "1.1", "openblas", 0, true),
        ("a 1.* openblas", "1.1", "mkl", 0, false),
        ("a * *_cp310", "3.10.1", "1_CP310", 0, true),
        ("a[build_number='>=3']", "1", "x", 3, true),
        ("a[build_number=3]", "1", "x", 2, false),
        ("c/noarch::a >1[md5=x,when=b,flags=c]", "2", "x", 0, true),
        ("a >=1", "no version!", "x", 0, false),
    ] {
        assert_eq!(
            parse(text).matches(version, build, number),
            is,
            "{text}: {version}"
        );
    }
}

#[test]
fn who_needs_the_third_revision() {
    for (text, needs) in [
        ("a", false),
        ("a >=1 x[build_number=2]", false),
        ("a[extras=[]]", false),
        ("a[when=b]", true),
        ("a[extras=b]", true),
        ("a[flags=b]", true),
    ] {
        assert_eq!(parse(text).needs_v3(), needs, "{text}");
    }
    let spec = parse("c::Py*");
    assert_eq!((spec.name(), spec.has_exact_name()), ("py*", false));
    assert!(parse("a").has_exact_name() && !parse("^a$").has_exact_name());
}

fn texts() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "a",
        "foo",
        "1",
        "1.8",
        "2.0a0",
        "*",
        ".*",
        ".",
        "=",
        "==",
        "!=",
        "<",
        ">=",
        "~=",
        ",",
        "|",
        "(",
        ")",
        " ",
        " ",
        "^",
        "$",
        "[",
        "]",
        "'",
        "\"",
        "\\",
        ":",
        "version=",
        "build=",
        "build_number=",
        "when=",
        "extras=",
        "flags=",
        "and",
        "or",
        "md5=",
        "!",
        "+",
        "_",
        "-",
    ]);
    let words =
        |most| prop::collection::vec(word.clone(), 0..most).prop_map(|words| words.concat());
    let field = prop_oneof![
        words(6).prop_map(|it| format!("version=\"{it}\"")),
        words(4).prop_map(|it| format!("build='{it}'")),
        words(6).prop_map(|it| format!("when=\"{it}\"")),
        (0..9_u32).prop_map(|it| format!("build_number={it}")),
        "[a-c]".prop_map(|it| format!("extras=[{it}, 'd']")),
        "[a-c:*]{1,4}".prop_map(|it| format!("flags=\"{it}\"")),
    ];
    let version = "(=|==|!=|<|>=|~=|)[0-9]{1,2}(\\.[0-9a]{1,2}){0,2}(\\*|\\.\\*|)";
    let versions = prop::collection::vec(version.prop_map(String::from), 1..4);
    let positions = (versions, "[,|]", "( [a-z*]{1,3}|=[a-z*]{1,3}|)");
    let positions = positions.prop_map(|(it, join, build)| it.join(&join) + &build);
    let brackets = prop::collection::vec(field, 0..4).prop_map(|it| format!("[{}]", it.join(",")));
    prop_oneof![
        words(12),
        ".{0,12}",
        ("[ =]?", positions).prop_map(|(part, it)| format!("foo{part}{it}")),
        (words(4), brackets).prop_map(|(it, fields)| format!("foo {it}{fields}")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn the_form_in_brackets_says_the_same(
        text in texts(), version in "[0-9]{1,2}(\\.[0-9a]{1,2}){0,3}", build in "[a-z]{0,3}", number in 0_i64..9,
    ) {
        let Some(spec) = MatchSpec::parse(&text) else { return Ok(()) };
        let Some(brackets) = spec.in_brackets() else { return Ok(()) };
        let read = MatchSpec::parse(&brackets);
        prop_assert_eq!(read.as_ref(), Some(&spec), "{} became {}", text, brackets);
        let read = read.unwrap();
        prop_assert_eq!(read.in_brackets(), Some(brackets));
        prop_assert_eq!(read.matches(&version, &build, number), spec.matches(&version, &build, number));
    }
}

//! Which assertions are found, what becomes of them, and which tests are faulty.

use super::*;

fn turned(language: Language, source: &str, title: &str) -> (String, u32, bool) {
    let looked = look(language, source, &BTreeSet::from([title]), &|_| false);
    (looked.turned, looked.literals, looked.red.contains(title))
}

/// The one line of a test, in the language's frame, turned.
fn line(language: Language, line: &str) -> String {
    let (before, after) = match language {
        Language::Python => ("def test_x(self):\n    ", "\n\nother = 1\n"),
        Language::JavaScript => ("it('x', () => {\n  ", "\n});\n"),
        Language::Go => ("func TestX(t *testing.T) {\n\t", "\n}\n"),
        Language::Rust => ("#[test]\nfn x() {\n    ", "\n}\n"),
        Language::Java => ("class A {\n  @Test void x() throws E {\n    ", "\n  }\n}\n"),
    };
    let title = match language {
        Language::Python => "test_x",
        Language::Go => "TestX",
        _ => "x",
    };
    let (turned, ..) = turned(language, &format!("{before}{line}{after}"), title);
    turned.strip_prefix(before).unwrap().strip_suffix(after).unwrap().to_owned()
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table of cases")]
fn one_side_of_an_equality_is_changed_and_the_rest_negated() {
    for (before, after) in [
        ("assert total(100, 600) == 0", "assert total(100, 600) == 1"),
        ("assert [1, 'a'] == f(2)", "assert [2, 'a~'] == f(2)"),
        ("assert f() == True", "assert f() == False"),
        ("assert f() == 3, 'three'", "assert f() == 4, 'three'"),
        ("assert f(3)", "assert not (f(3))"),
        ("assert f() is None", "assert not (f() is None)"),
        ("assert f() > 3", "assert not (f() > 3)"),
        ("assert f() == 3 or g()", "assert not (f() == 3 or g())"),
        ("assert f() == g('x')", "assert not (f() == g('x'))"),
        ("assert f() == pytest.approx(0.5, rel=1)", "assert f() == pytest.approx(1000003.5, rel=1)"),
        ("assert f() == approx([1_000, 1e3], 0.01)", "assert f() == approx([1003003, 1000006], 0.01)"),
        ("assert f()[0] == {'a': -1}", "assert f()[0] == {'a~': -2}"),
        ("assert f() == 'a,b'.split(',')[0]", "assert not (f() == 'a,b'.split(',')[0])"),
        ("self.assertEqual(f(1), 1)", "self.assertEqual(f(1), 2)"),
        ("self.assertEqual(f(), 255)", "self.assertEqual(f(), 253)"),
        ("self.assertEqual(f(), g(1), 'words')", "self.assertNotEqual(f(), g(1), 'words')"),
        ("self.assertEqual(f(), x or 3)", "self.assertNotEqual(f(), x or 3)"),
        ("self.assertAlmostEqual(f(), 1.5, places=3)", "self.assertAlmostEqual(f(), 1000006.5, places=3)"),
        ("self.assertAlmostEqual(f(), 1000, delta=10)", "self.assertAlmostEqual(f(), 1003003, delta=10)"),
        ("self.assertRegex(f(), r'no|never')", "self.assertRegex(f(), r\"(?!)\")"),
        (
            "with self.assertRaisesRegex(ValueError, 'no*'): f(3)",
            "with self.assertRaisesRegex(ValueError, \"(?!)\"): f(3)",
        ),
        (
            "with raises(E):\n        f(3)\n        assert g() == 4\n    assert g() == 5",
            "with raises(E):\n        f(3)\n        assert g() == 4\n    assert g() == 6",
        ),
        ("self.assertTrue(f(3))", "self.assertFalse(f(3))"),
        ("self.assertTrue(f(3) == 4)", "self.assertTrue(f(3) == 5)"),
        ("self.assertNotIn('a', f())", "self.assertIn('a', f())"),
        ("with pytest.raises(ValueError, match='no'): f()", "with pytest.raises(ValueError, match=\"(?!)\"): f()"),
        ("with self.assertRaises(ValueError): f(3)", "with self.assertRaises(ValueError): f(3)"),
        ("m.assert_called_once_with(3, a='b')", "m.assert_called_once_with(4, a='b~')"),
        ("assert f() == f'{x}'", "assert not (f() == f'{x}')"),
    ] {
        assert_eq!(line(Language::Python, before), after);
    }
    for (before, after) in [
        ("expect(f(1)).toBe(1)", "expect(f(1)).toBe(2)"),
        ("expect(f()).toEqual({a: [1, null]})", "expect(f()).toEqual({a: [2, \"~\"]})"),
        ("expect(f()).not.toBe(3)", "expect(f()).toBe(3)"),
        ("expect(f()).toBeTruthy()", "expect(f()).not.toBeTruthy()"),
        ("await expect(f()).resolves.toBe(g())", "await expect(f()).resolves.not.toBe(g())"),
        ("expect(() => f(1)).toThrow('no')", "expect(() => f(1)).toThrow('no~')"),
        ("expect(f()).to.equal(3)", "expect(f()).to.equal(4)"),
        ("expect(f()).to.be.true", "expect(f()).to.be.not.true"),
        ("expect(f()).toBeCloseTo(0.5, 3)", "expect(f()).toBeCloseTo(1000003.5, 3)"),
        ("expect(f()).toEqual(expect.closeTo(2, 5))", "expect(f()).toEqual(expect.closeTo(1000009, 5))"),
        (
            "expect(() => { f(); expect(g()).toBe(1) }).toThrow('no')",
            "expect(() => { f(); expect(g()).toBe(1) }).toThrow('no~')",
        ),
        ("assert.strictEqual(f(), 'a')", "assert.strictEqual(f(), 'a~')"),
        ("assert(f(1) === 2)", "assert(f(1) === 3)"),
        ("assert.ok(f(1))", "assert.ok(!(f(1)))"),
    ] {
        assert_eq!(line(Language::JavaScript, before), after);
    }
    for (before, after) in [
        (
            "if got := F(1); got != 3 {\n\t\tt.Errorf(\"got %d\", got)\n\t}",
            "if got := F(1); got != 4 {\n\t\tt.Errorf(\"got %d\", got)\n\t}",
        ),
        ("if err != nil {\n\t\tt.Fatal(err)\n\t}", "if !(err != nil) {\n\t\tt.Fatal(err)\n\t}"),
        ("if F() {\n\t\tlog.Print(1)\n\t}", "if F() {\n\t\tlog.Print(1)\n\t}"),
        (
            "if got := F([]int{1}); got != w {\n\t\tt.Fail()\n\t}",
            "if got := F([]int{1}); !(got != w) {\n\t\tt.Fail()\n\t}",
        ),
        (
            "if err != nil {\n\t\tif !wantErr {\n\t\t\tt.Fatal(err)\n\t\t}\n\t\treturn\n\t}",
            "if err != nil {\n\t\tif !(!wantErr) {\n\t\t\tt.Fatal(err)\n\t\t}\n\t\treturn\n\t}",
        ),
        ("assert.Equal(t, 3, F(2))", "assert.Equal(t, 4, F(2))"),
        ("require.NoError(t, F())", "require.Error(t, F())"),
    ] {
        assert_eq!(line(Language::Go, before), after);
    }
    for (before, after) in [
        ("assert_eq!(f(1), 1);", "assert_eq!(f(1), 2);"),
        ("assert_eq!(f(1), \"a\".to_owned(), \"b {}\", 1);", "assert_eq!(f(1), \"a~\".to_owned(), \"b {}\", 1);"),
        ("assert_eq!(f(1), Some('a'));", "assert_eq!(f(1), Some('q'));"),
        ("assert_eq!(f(), vec![1, 2]);", "assert_eq!(f(), vec![2, 3]);"),
        ("assert_eq!(f().0, None);", "assert_ne!(f().0, None);"),
        ("assert!(f(1), \"why\");", "assert!(!(f(1)), \"why\");"),
        ("assert!(f(1) == 2);", "assert!(f(1) == 3);"),
        ("assert_ne!(f(1), 2);", "assert_eq!(f(1), 2);"),
    ] {
        assert_eq!(line(Language::Rust, before), after);
    }
    for (before, after) in [
        ("assertEquals(3, f(1));", "assertEquals(4, f(1));"),
        ("assertEquals(0.5, f(1), 0.1);", "assertEquals(1000003.5, f(1), 0.1);"),
        (
            "assertThrows(E.class, () -> { f(); assertEquals(3, g()); });",
            "assertThrows(E.class, () -> { f(); assertEquals(3, g()); });",
        ),
        ("assertEquals(\"why\", 3, f(1));", "assertNotEquals(\"why\", 3, f(1));"),
        ("assertTrue(f(1));", "assertFalse(f(1));"),
        ("assertThat(f(1)).isEqualTo(\"a\");", "assertThat(f(1)).isEqualTo(\"a~\");"),
    ] {
        assert_eq!(line(Language::Java, before), after);
    }
}

#[test]
fn only_the_named_tests_are_turned_and_literals_come_before_opposites() {
    let source = "class T:\n    def test_a(self):\n        assert f()\n        assert f() == 1\n\n    def test_b(self):\n        assert f() == 2\n";
    let (after, literals, red) = turned(Language::Python, source, "test_a");
    assert_eq!(after, source.replace("== 1", "== 2"));
    assert_eq!((literals, red), (1, true));
    let source = "describe('cart', () => {\n  it('adds', () => { expect(f()).toBe(1) })\n})";
    assert_eq!(turned(Language::JavaScript, source, "cart adds").1, 1);
    assert_eq!(turned(Language::JavaScript, source, "cart subtracts").1, 0);
    let source = "def test_a():\n    with pytest.raises(E):\n        f()\n";
    assert_eq!(turned(Language::Python, source, "test_a"), (source.to_owned(), 0, false));
    let panics = "#[test]\n#[should_panic]\nfn x() {\n    assert_eq!(f(), 1);\n}\n";
    assert_eq!(turned(Language::Rust, panics, "x").1, 0);
}

#[test]
fn tests_that_assert_nothing_are_found() {
    let fault = |language: Language, source: &str, title: &str| {
        look(language, source, &BTreeSet::from([title]), &|_| false).faults.into_iter().next().map(|(_, fault)| fault)
    };
    let python = |body: &str| fault(Language::Python, &format!("def test_x(self):\n{body}\n"), "test_x");
    assert_eq!(python("    assert True"), Some(Fault::Constant(2)));
    assert_eq!(python("    self.assertEqual(1, 1)"), Some(Fault::Constant(2)));
    assert_eq!(python("    assert (f() == 1, 'one')"), Some(Fault::Pair(2)));
    assert_eq!(python("    assert (f() == 1)"), None);
    assert_eq!(python("    f()"), Some(Fault::Nothing));
    assert_eq!(python("    pass"), Some(Fault::Nothing));
    let script = |body: &str| fault(Language::JavaScript, &format!("it('x', () => {{\n{body}\n}});\n"), "x");
    assert_eq!(script("  const { floor } = require('./a');\n  expect(true).toBe(true);"), Some(Fault::Constant(3)));
    let go = |body: &str| fault(Language::Go, &format!("func TestX(t *testing.T) {{\n{body}\n}}\n"), "TestX");
    assert_eq!(go("\tF()\n\tif 1 != 1 {\n\t\tt.Error(1)\n\t}"), Some(Fault::Constant(3)));
    assert_eq!(go("\tif 1 != 1 {\n\t\tt.Error(1)\n\t}\n\tmustBe(t, F())"), None);
    assert_eq!(go("\tdefer func() { recover() }()\n\tif F() != 1 {\n\t\tpanic(1)\n\t}"), Some(Fault::Swallowed(2)));
    assert_eq!(go("\tdefer func() {\n\t\tif r := recover(); r == nil {\n\t\t\tt.Error(1)\n\t\t}\n\t}()\n\tF()"), None);
    assert_eq!(python("    expected = floor()\n    assert True"), Some(Fault::Constant(3)));
    assert_eq!(python("    error = floor()"), Some(Fault::Nothing));
    assert_eq!(python("    check = floor\n    check()"), Some(Fault::Nothing));
    assert_eq!(python("    self.fail('no')"), None);
    assert_eq!(python("    self.check_total(3)"), None);
    assert_eq!(
        python("    try:\n        f()\n        assert False, 'no error'\n    except ValueError:\n        pass"),
        None
    );
    let swallowed = "    try:\n        assert f() == 1\n    except Exception:\n        pass";
    assert_eq!(python(swallowed), Some(Fault::Swallowed(4)));
    assert_eq!(python("    try:\n        clean()\n    except Exception:\n        pass\n    assert f() == 1"), None);
    let js = |body: &str| fault(Language::JavaScript, &format!("test('x', () => {{\n{body}\n}})"), "x");
    assert_eq!(js("expect(true).toBe(true)"), Some(Fault::Constant(2)));
    assert_eq!(js("try { expect(f()).toBe(1) } catch (e) {}"), Some(Fault::Swallowed(2)));
    assert_eq!(js("f()"), Some(Fault::Nothing));
    assert_eq!(js("expect(f()).toBe(1)"), None);
    assert_eq!(fault(Language::Go, "func TestX(t *testing.T) {\n\tF()\n}\n", "TestX"), Some(Fault::Nothing));
    assert_eq!(fault(Language::Rust, "#[test]\nfn x() {\n    assert!(true);\n}\n", "x"), Some(Fault::Constant(3)));
    assert_eq!(fault(Language::Java, "class A { @Test void x() { f(); } }", "x"), Some(Fault::Nothing));
}

#[test]
fn what_the_change_brings_asks_for_nothing() {
    let source = "def test_x():\n    check_floor(3)\n";
    let faults =
        |added: &dyn Fn(&str) -> bool| look(Language::Python, source, &BTreeSet::from(["test_x"]), added).faults;
    assert_eq!(faults(&|_| false), []);
    assert_eq!(faults(&|name| name == "check_floor"), [("test_x".to_owned(), Fault::Nothing)]);
}

#[test]
fn a_function_with_the_name_of_its_test_is_no_test() {
    let source = "pub fn clamp(x: i64) -> i64 {\n    debug_assert!(x < 9);\n    x\n}\n\n#[cfg(test)]\nmod tests {\n    #[tokio::test(flavor = \"current_thread\")]\n    #[ignore]\n    pub async fn clamp() {\n        assert_eq!(super::clamp(1), 1);\n    }\n}\n";
    let looked = look(Language::Rust, source, &BTreeSet::from(["clamp"]), &|_| false);
    assert_eq!(looked.faults, []);
    assert_eq!(looked.turned, source.replace("(1), 1)", "(1), 2)"));
    assert!(looked.red.contains("clamp"));
}

#[test]
fn functions_are_emptied() {
    let all = |_: usize| true;
    for (language, before, after) in [
        (
            Language::Python,
            "def f(a: int = 1) -> int:\n    \"\"\"Text.\"\"\"\n    return a\n\n\nx = 1\n",
            "def f(a: int = 1) -> int:\n     return None \n\n\nx = 1\n",
        ),
        (Language::Rust, "pub fn f(a: i64) -> i64 {\n    a\n}\n", "pub fn f(a: i64) -> i64 { Default::default() }\n"),
        (
            Language::Go,
            "func (c *Cart) F(a int) int {\n\treturn a\n}\n",
            "func (c *Cart) F(a int) int { var nothing0 int; return nothing0 }\n",
        ),
        (
            Language::Go,
            "func F(a int) ([]int, error) {\n\treturn a, nil\n}\n",
            "func F(a int) ([]int, error) { var nothing0 []int; var nothing1 error; return nothing0, nothing1 }\n",
        ),
        (Language::Go, "func F() (n int, err error) {\n\treturn\n}\n", "func F() (n int, err error) { return }\n"),
        (Language::Go, "func F() {\n\tg()\n}\n", "func F() { return }\n"),
        (Language::JavaScript, "function f(a) {\n  return a;\n}\n", "function f(a) { return undefined; }\n"),
        (
            Language::JavaScript,
            "exports.f = (a) => Math.max(a, 0);\nconst g = (a) => {\n  return a;\n};\n",
            "exports.f = (a) =>  undefined ;\nconst g = (a) => { return undefined; };\n",
        ),
        (
            Language::JavaScript,
            "class A {\n  async f(a) {\n    if (a) {\n      return 1;\n    }\n  }\n}\n",
            "class A {\n  async f(a) { return undefined; }\n}\n",
        ),
        (
            Language::Java,
            "class A {\n  int f(int a) {\n    return a;\n  }\n}\n",
            "class A {\n  int f(int a) { return 0; }\n}\n",
        ),
    ] {
        assert_eq!(hollow(language, before, &all).as_deref(), Some(after));
        assert_eq!(hollow(language, before, &|_| false), None);
    }
}

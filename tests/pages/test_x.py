from streamlit.testing.v1 import AppTest
def test_x():
    at = AppTest.from_file("app.py", default_timeout=60).run()
    print([t.value for t in at.title], at.exception)
    at.switch_page("pages/norms.py").run()
    print([t.value for t in at.title], at.exception, [s.label for s in at.selectbox], at.caption[0].value)
    at.switch_page("pages/distill.py").run()
    print([t.value for t in at.title], at.exception, [s.label for s in at.selectbox], at.sidebar)
    assert 0

"""Fixtures for the web pages: a browser and a client, one of each for all tests."""

import pytest
from starlette.testclient import TestClient
from tests.web import studies

from samplewise.web.studio.library import Library
from samplewise.web.studio.routes import Studio
from samplewise.web.studio.takes import Takes
from samplewise.web.studio.training import Trainer


@pytest.fixture(scope="session")
def browser():
    if studies.chromium_path() is None:
        pytest.skip("no Chromium is installed; install it, or name it in CHROMIUM")
    with studies.browsing() as browser:
        yield browser


@pytest.fixture
def studio(tmp_path):
    studio = Studio(
        Library([tmp_path], threads=1),
        Takes(tmp_path / "takes"),
        Trainer([tmp_path], tmp_path / "runs"),
    )
    yield studio
    studio.close()


@pytest.fixture
def client_of():
    """Make a client that has opened the printed link."""

    def make(application, link="/?token=" + studies.TOKEN):
        client = TestClient(application, base_url="http://localhost")
        if link:
            assert client.get(link).status_code == 200
        return client

    return make

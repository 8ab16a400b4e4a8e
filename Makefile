# The few verbs. `make rehearse` and `make test` work from a fresh clone.
PY := .venv/bin/python
SCENARIO ?= expiry
.PHONY: setup rehearse test check check-infra lint types contracts contract contract-clean proof bench

setup:
	@sh scripts/setup.sh

rehearse: setup  ## the main job on real parts; SCENARIO=expiry (default, ends with a breach), breach, no-events, noisy-events
	@$(PY) -m local rehearse $(SCENARIO)

test: setup  ## all tests, with a seeded sample of the long proofs; TESTS=pattern narrows it
	@$(PY) -m pytest -n 2 --dist loadfile $(if $(TESTS),-k "$(TESTS)")

lint: setup
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .

types: setup
	@$(PY) -m mypy

contracts: setup
	@.venv/bin/lint-imports

check: lint types contracts test check-infra  ## what must be green before a change lands

check-infra: setup .venv-infra/.stamp  ## infra/ against Azure's own models and checkov; the package, indexed on its own
	@.venv-infra/bin/python -m scripts.check_infra
	@$(PY) -m pytest tests/infra
	@$(PY) -m scripts.check_package --index

.venv-infra/.stamp: requirements-infra.txt
	@echo "check-infra: installing Azure's models and checkov into .venv-infra" >&2
	@rm -rf .venv-infra && $(PY) -m venv .venv-infra
	@.venv-infra/bin/python -m pip install -qq --disable-pip-version-check -r requirements-infra.txt
	@.venv-infra/bin/python -m pip install -qq --disable-pip-version-check --no-deps $$(grep ^pycep-parser== requirements-dev.txt)
	@touch $@

proof: setup  ## the long proofs, whole: every kill point, every lost reply, many seeds
	@$(PY) -m pytest --proof -m proof -s

bench: setup  ## time and requests against plain scripts in the same run
	@$(PY) -m bench

contract: setup  ## what we believe of Azure, against the services that ROLLOVER_LIVE_* name (docs/contract.md); else the stand-in
	@$(PY) -m pytest tests/contract --aim $(if $(TESTS),-k "$(TESTS)")

contract-clean: setup  ## removes what broken runs of `make contract` left there
	@$(PY) -m tests.contract.cleaning

# Everything real, set up from package registries and cached outside the clone.
# make demo [KEEP=1]   rotate the keys of a real LiteLLM, and look
# make test            set everything up and run all tests
# make drill           kill everything everywhere, and look at what is left; DRILL="--sample 40" for some of it,
#                      DRILL="--service litellm --sample 8" for some of it with LiteLLM itself in the stand-in's place
# make check           types, lint, format, dead code

SHELL := /bin/bash
.DEFAULT_GOAL := help
CACHE := $(or $(LITELLM_ROTATE_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/litellm-rotate)
NODE_VERSION := 24.21.0
# The machine's own Node if it is 24 or newer, else one from the npm registry.
NODE_BIN = $(shell lab/node-bin $(NODE_VERSION) $(CACHE))
RUN = PATH="$(NODE_BIN):$$PWD/node_modules/.bin:$$PATH"

help:
	@sed -n '/^# make/,/^$$/s/^# //p' Makefile

node_modules/.package-lock.json: package.json package-lock.json
	@start=$$SECONDS; $(RUN) npm ci --loglevel=error && touch $@ && echo "npm: packages installed ($$((SECONDS - start)) s)" >&2

setup: node_modules/.package-lock.json
	@$(RUN) node lab/setup.ts all

demo: node_modules/.package-lock.json
	@$(RUN) KEEP=$(KEEP) exec node lab/demo.ts

test: setup
	@$(RUN) vitest run $(TESTS)

drill: setup
	@$(RUN) exec node drill/main.ts $(DRILL)

check: node_modules/.package-lock.json
	@$(RUN) npm run --silent check

.PHONY: help setup demo test drill check

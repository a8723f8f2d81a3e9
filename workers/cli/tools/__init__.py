"""Commands of build hosts for other programs that sign: agent, run, pgp.

agent             ``sigmill agent``
run               ``sigmill run``
agent_options     options of both, and the settings that they describe
tool_environment  environment and files by which tools find the agent
child             the command that ``sigmill run`` runs
key_notes         notes about keys and certificates that an agent shows
told_failures     reasons of failed signatures, on stderr
pgp               ``sigmill pgp``
waiting           notes while tools wait

It never imports `workers.config`, `workers.token_admin` or anything else of the service: a build host has none of it.
"""

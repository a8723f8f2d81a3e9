"""Commands of build hosts for other programs that sign: agent, run, pgp.

agent             ``sigmill agent``
run               ``sigmill run``
run_folder        private folder of one run, and those that killed runs left
agent_options     options of both, and the settings that they describe
tool_environment  environment and files by which tools find the agent
openssl_provider  pkcs11-provider in OpenSSL's configuration
openssl_engine    the engine pkcs11 in OpenSSL's configuration
openssl_settings  configuration files of OpenSSL
java_provider     the provider SunPKCS11 in the JVM's options
child             the command that ``sigmill run`` runs
key_notes         notes about keys and certificates that an agent shows
told_failures     reasons of failed signatures, on stderr
pgp               ``sigmill pgp``
waiting           notes while tools wait

It never imports `workers.config`, `workers.token_admin` or anything else of the service: a build host has none of it.
"""

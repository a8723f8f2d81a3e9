"""What an operator hands to somebody else who is to help: facts of one host, and no secret.

masking   what is taken out of configuration files and of everything else
parts     what is in a bundle, each part made apart from the others
bundle    the archive
"""

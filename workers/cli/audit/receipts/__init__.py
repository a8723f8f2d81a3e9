"""Receipts: made from a bundle, put into CMS signatures, and verified.

receipt        ``sigmill audit receipt``
cms_receipt    ``sigmill audit cms-receipt``
receipt_files  verification of a receipt's file
signing_key    public key that must have signed what a receipt is of

It never imports ``queueing.client`` or ``queueing.redis``.
"""

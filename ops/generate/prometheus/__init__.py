"""Prometheus rules in ``ops/prometheus``.

alerts      symptom alerts, each with its texts and its runbook
clock       durations in rules, divided by one factor for a drill
objectives  service level objectives by tenant class, and their burn rates
rules       the rule files: recorded series, burn-rate alerts, symptom alerts

It never imports ``ops.generate.pages`` or ``ops.generate.dashboards``.
"""

"""What is to be sent, settled before anything is sent: datasets, SLO files, and who sends what when.

Pure values and file reading. The modules are imported by name, so that none pays for another's libraries.
"""

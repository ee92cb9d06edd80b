"""Count the misses of fifty cache geometries again into data/geometries/misses.csv: ten minutes, the same everywhere.

python tests/support/count_geometries.py
"""

from perflib.files import GEOMETRIES
from perflib.fleet import simulate
from perflib.models.geometry_counts import FIFTY, SIZES

if __name__ == "__main__":
    simulate(FIFTY, sizes=SIZES).save(GEOMETRIES)
